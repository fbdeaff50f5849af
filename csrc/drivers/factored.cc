// SPDX-License-Identifier: Apache-2.0
#include "drivers/factored.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/blocks.h"
#include "passes/decay_average.h"
#include "passes/gradients.h"

namespace slotwise {
namespace {

// A tensor as matrices in tiles. One of rank 0 or 1 is a matrix of one row.
struct Tiling {
  static constexpr size_t kRows = 64;           // of a tile, if there are as many; more if narrow
  static constexpr size_t kElements = 1 << 16;  // of a tile, about

  explicit Tiling(const DenseTensor& tensor) {
    const int rank = tensor.grad.rank;
    const auto dim = [&](int d) { return static_cast<size_t>(tensor.grad.shape[d]); };
    has_factors = rank >= 2;
    rows = has_factors ? dim(rank - 2) : 1;
    columns = has_factors ? dim(rank - 1) : tensor.count;
    if (tensor.count == 0) return;
    matrices = tensor.count / (rows * columns);
    tile_columns = std::min(columns, kTileColumns);
    tile_rows = std::min(rows, std::max(kRows, kElements / tile_columns));
    across = (columns + tile_columns - 1) / tile_columns;
    down = (rows + tile_rows - 1) / tile_rows;
  }

  size_t tiles() const { return matrices * down * across; }

  bool has_factors;
  size_t rows, columns;
  size_t matrices = 0;
  size_t tile_rows = 0, tile_columns = 0;
  size_t down = 0, across = 0;  // tiles of a matrix
};

struct Tile {
  Tile(const Tiling& t, size_t number)
      : across(number % t.across),
        down(number / t.across % t.down),
        matrix(number / t.across / t.down),
        first_row(matrix * t.rows + down * t.tile_rows),
        end_row(matrix * t.rows + std::min(t.rows, (down + 1) * t.tile_rows)),
        first_column(across * t.tile_columns),
        columns(std::min(t.columns - first_column, t.tile_columns)) {}

  // Its first element in a row.
  size_t Begin(const Tiling& t, size_t row) const { return row * t.columns + first_column; }

  size_t across, down, matrix;  // its place
  size_t first_row, end_row;    // among the rows of all matrices
  size_t first_column, columns;
};

class Factored {
 public:
  Factored(const FactoredKernel& kernel, const DenseCall& call)
      : call_(call),
        kernel_(kernel),
        element_(SizeOf(call.dtype)),
        computed_(ComputedSizeOf(call.dtype)) {
    kernel.make(call.hypers, call.attrs, &coefficients_);
    for (size_t i = 0; i < call.tensor_count; ++i) {
      const Tiling& tiling = tensors_.emplace_back(call.tensors[i], computed_).tiling;
      const size_t count = call.tensors[i].count;
      tiles_.Add(tiling.tiles(), count);
      factored_tiles_.Add(tiling.has_factors ? tiling.tiles() : 0, count);
      factored_.Add(tiling.has_factors ? tiling.matrices : 0, count);
    }
  }

  void Run() {
    const size_t min_elements = kMinBytesPerThread / (2 * element_);
    std::vector<double> var(tiles_.count()), direction(tiles_.count());
    std::vector<FactoredLength> lengths;
    lengths.reserve(tensors_.size());  // all memory before the first write
    factored_tiles_.ForEach(min_elements, SumSquares{*this});
    factored_.ForEach(min_elements, AverageSquares{*this});
    tiles_.ForEach(min_elements, Measure{*this, var.data(), direction.data()});
    const std::vector<double> of_var = tiles_.Totals(var);
    const std::vector<double> of_direction = tiles_.Totals(direction);
    for (size_t i = 0; i < tensors_.size(); ++i) {
      const auto count = static_cast<double>(std::max(size_t{1}, call_.tensors[i].count));
      lengths.push_back(kernel_.length(coefficients_, std::sqrt(of_var[i] / count),
                                       std::sqrt(of_direction[i] / count)));
    }
    tiles_.ForEach(min_elements, ApplySteps{*this, lengths.data()});
  }

 private:
  // A tensor and what is known of it in the course of a call.
  struct Tensor {
    Tensor(const DenseTensor& tensor, size_t factor_bytes) : tiling(tensor) {
      if (!tiling.has_factors) return;
      row_sums.resize(tiling.matrices * tiling.rows * tiling.across);
      column_sums.resize(tiling.matrices * tiling.down * tiling.columns);
      of_rows.resize(tiling.matrices * tiling.rows * factor_bytes);
      of_columns.resize(tiling.matrices * tiling.columns * factor_bytes);
    }

    Tiling tiling;
    std::vector<double> row_sums;     // of each row, one for each tile across
    std::vector<double> column_sums;  // of each matrix, those of its columns for each tile down
    std::vector<unsigned char> of_rows, of_columns;  // factors of second moments
  };

  // A row's gradients that are no plain array.
  struct alignas(64) Block {
    unsigned char memory[kTileColumns * sizeof(double)];
  };

  // The passes. Each is called for a tile (AverageSquares: a matrix) of tensor i.
  struct SumSquares {
    Factored& self;

    void operator()(size_t i, size_t number, size_t) const {
      Tensor& tensor = self.tensors_[i];
      const Tiling& tiling = tensor.tiling;
      const Tile tile(tiling, number);
      double* const column_sums = tensor.column_sums.data() +
                                  (tile.matrix * tiling.down + tile.down) * tiling.columns +
                                  tile.first_column;
      Block block;
      const bool is_plain = HasPlainGradient(self.call_.tensors[i]);
      for (size_t row = tile.first_row; row < tile.end_row;) {
        const FactoredPart part = self.PartOf(i, tile, row, is_plain, &block);
        double* const row_sums = tensor.row_sums.data() + row * tiling.across + tile.across;
        self.kernel_.add_squares(self.coefficients_, part, column_sums, row_sums, tiling.across);
        row += part.rows;
      }
    }
  };

  struct AverageSquares {
    Factored& self;

    void operator()(size_t i, size_t matrix, size_t) const {
      Tensor& tensor = self.tensors_[i];
      const Tiling& t = tensor.tiling;
      void* const* const slots = self.call_.tensors[i].slots;
      const size_t first_row = matrix * t.rows, first_column = matrix * t.columns;
      self.kernel_.average(
          self.coefficients_,
          {t.rows, t.columns, t.across, t.down, tensor.row_sums.data() + first_row * t.across,
           tensor.column_sums.data() + first_column * t.down,
           static_cast<unsigned char*>(slots[0]) + first_row * self.element_,
           static_cast<unsigned char*>(slots[1]) + first_column * self.element_,
           tensor.of_rows.data() + first_row * self.computed_,
           tensor.of_columns.data() + first_column * self.computed_});
    }
  };

  struct Measure {
    const Factored& self;
    double* of_var;
    double* of_direction;

    void operator()(size_t i, size_t number, size_t number_of_all) const {
      const DenseTensor& tensor = self.call_.tensors[i];
      const Tiling& tiling = self.tensors_[i].tiling;
      const Tile tile(tiling, number);
      Block block;
      double var = 0, direction = 0;
      for (size_t row = tile.first_row; row < tile.end_row;) {
        const size_t begin = tile.Begin(tiling, row);
        const auto decay = [&] {
          BeforeUpdate(self.call_.dtype, tensor.decay_average, begin, tile.columns, tensor.var);
        };
        if (self.kernel_.decays_first) decay();
        const FactoredPart part = self.PartOf(i, tile, row, IsPlain(tensor), &block);
        self.kernel_.measure(self.coefficients_, part, &var, &direction);
        if (!self.kernel_.decays_first) decay();
        row += part.rows;
      }
      of_var[number_of_all] = var;
      of_direction[number_of_all] = direction;
    }
  };

  struct ApplySteps {
    const Factored& self;
    const FactoredLength* lengths;

    void operator()(size_t i, size_t number, size_t) const {
      const DenseTensor& tensor = self.call_.tensors[i];
      const Tiling& tiling = self.tensors_[i].tiling;
      const Tile tile(tiling, number);
      Block block;
      for (size_t row = tile.first_row; row < tile.end_row;) {
        const FactoredPart part = self.PartOf(i, tile, row, IsPlain(tensor), &block);
        self.kernel_.update(self.coefficients_, part, lengths[i]);
        AfterUpdate(self.call_.dtype, tensor.decay_average, tile.Begin(tiling, row), tile.columns,
                    tensor.var);
        row += part.rows;
      }
    }
  };

  static bool HasPlainGradient(const DenseTensor& tensor) {
    return tensor.grad.contiguous && tensor.transform == nullptr;
  }
  // Whether the kernel alone passes over a tensor.
  static bool IsPlain(const DenseTensor& tensor) {
    return HasPlainGradient(tensor) && tensor.decay_average == nullptr;
  }

  // `row` of all rows, or all of a tile from there on; a row's gradient may lie in `block`.
  FactoredPart PartOf(size_t i, const Tile& tile, size_t row, bool all, Block* block) const {
    const Tensor& tensor = tensors_[i];
    const DenseTensor& arrays = call_.tensors[i];
    const size_t begin = tile.Begin(tensor.tiling, row);
    const auto from = [&](void* array) {
      return static_cast<unsigned char*>(array) + begin * element_;
    };
    const bool has_v = kernel_.keeps_estimates || !tensor.tiling.has_factors;
    FactoredPart part{};
    part.rows = all ? tile.end_row - row : 1;
    part.count = tile.columns;
    part.stride = tensor.tiling.columns;
    part.var = from(arrays.var);
    part.v = has_v ? from(arrays.slots[2]) : nullptr;
    part.grad = GradientSpan(call_.dtype, arrays.grad, arrays.transform, begin, tile.columns,
                             block->memory);
    if (tensor.tiling.has_factors) {
      part.of_rows = tensor.of_rows.data() + row * computed_;
      part.of_columns = tensor.of_columns.data() +
                        (tile.matrix * tensor.tiling.columns + tile.first_column) * computed_;
    }
    return part;
  }

  const DenseCall& call_;
  const FactoredKernel& kernel_;
  const size_t element_, computed_;  // bytes of an element, as stored and as computed in
  AnyCoefficients coefficients_;
  std::vector<Tensor> tensors_;
  Blocks tiles_, factored_tiles_, factored_;
};

}  // namespace

void RunFactored(const FactoredKernel& kernel, const DenseCall& call) {
  Factored(kernel, call).Run();
}

}  // namespace slotwise
