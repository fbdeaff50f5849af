// SPDX-License-Identifier: Apache-2.0
// The driver of Adafactor's variants: a variable of rank >= 2 is a stack of matrices, of whose
// second moments only the means along rows and along columns are remembered.
//
// A pass over the gradient takes these means, a second one measures the direction and the variable,
// a third one updates. Each goes over tiles of the matrices, which threads share; what is summed is
// summed in float64 along parts of rows, by rows of a tile, then by tiles in order.
#pragma once

#include <cstddef>

#include "core/types.h"
#include "drivers/kernel.h"

namespace slotwise {

constexpr size_t kTileColumns = 1024;  // of a tile, at most

// Rows of a tile, of `count` elements each; `stride` elements lie from one to the next. The kernel
// is called for all rows of a tile at once, unless something else is done to each: rows may be
// short.
struct FactoredPart {
  size_t rows, count, stride;
  void* var;
  void* v;  // null: not remembered
  const void* grad;
  // The factors of the second moments, in the type that is computed in. Without any, v is their
  // running mean.
  const void *of_rows, *of_columns;
};

// The means of one matrix's squares.
struct FactoredMeans {
  size_t rows, columns, across, down;
  const double* row_sums;     // of each row, one for each tile across
  const double* column_sums;  // of all columns, one for each tile down
  void *row_slots, *column_slots;
  void *of_rows, *of_columns;  // the factors
};

// How long the step of a variable is.
struct FactoredLength {
  double alpha, denominator;
};

struct FactoredKernel {
  bool keeps_estimates;  // v, of matrices too
  bool decays_first;     // before a variable is measured
  void (*make)(const double* hypers, const bool* attrs, AnyCoefficients* to);

  // Adds the squares of a part to the sums of columns. The sum along each row goes to row_sums,
  // which has one in `across` numbers.
  void (*add_squares)(const AnyCoefficients&, const FactoredPart&, double* column_sums,
                      double* row_sums, size_t across);

  // Averages the slots with new means, and makes factors of them.
  void (*average)(const AnyCoefficients&, const FactoredMeans&);

  // Adds the squares of var and of the direction, row by row.
  void (*measure)(const AnyCoefficients&, const FactoredPart&, double* of_var,
                  double* of_direction);

  FactoredLength (*length)(const AnyCoefficients&, double rms_of_var, double rms_of_direction);
  void (*update)(const AnyCoefficients&, const FactoredPart&, const FactoredLength&);
};

void RunFactored(const FactoredKernel& kernel, const DenseCall& call);

}  // namespace slotwise
