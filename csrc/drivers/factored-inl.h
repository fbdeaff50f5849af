// SPDX-License-Identifier: Apache-2.0
// The driver of Adafactor's variants: a variable of rank >= 2 is a stack of matrices, of whose
// second moments only the means along rows and along columns are remembered.
//
// A pass over the gradient takes these means, a second one measures the direction and the variable,
// a third one updates. Each goes over tiles of the matrices, which threads share; what is summed is
// summed in float64 along parts of rows, by rows of a tile, then by tiles in order.

#if defined(SLOTWISE_DRIVERS_FACTORED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLOTWISE_DRIVERS_FACTORED_INL_H_
#undef SLOTWISE_DRIVERS_FACTORED_INL_H_
#else
#define SLOTWISE_DRIVERS_FACTORED_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <vector>

#include "passes/decay_average.h"
#include "core/blocks.h"
#include "passes/gradients.h"
#include "drivers/span-inl.h"
#include "simd/ops-inl.h"
#include "simd/sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace slotwise {
namespace HWY_NAMESPACE {

// A tensor as matrices in tiles. One of rank 0 or 1 is a matrix of one row.
struct Tiling {
  static constexpr size_t kColumns = 1024;      // of a tile, at most
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
    tile_columns = std::min(columns, kColumns);
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

template <class R, class Codec>
class Factored {
 public:
  explicit Factored(const DenseCall& call)
      : call_(call), coefficients_(CoefficientsOf<R, Compute>(call.hypers, call.attrs)) {
    for (size_t i = 0; i < call.tensor_count; ++i) {
      const Tiling& tiling = tensors_.emplace_back(call.tensors[i]).tiling;
      const size_t count = call.tensors[i].count;
      tiles_.Add(tiling.tiles(), count);
      factored_tiles_.Add(tiling.has_factors ? tiling.tiles() : 0, count);
      factored_.Add(tiling.has_factors ? tiling.matrices : 0, count);
    }
  }

  void Run() {
    constexpr size_t kMinElements = kMinBytesPerThread / (2 * sizeof(Stored));
    std::vector<double> var(tiles_.count()), direction(tiles_.count());
    std::vector<Length> lengths;
    lengths.reserve(tensors_.size());  // all memory before the first write
    factored_tiles_.ForEach(kMinElements, SumSquares{*this});
    factored_.ForEach(kMinElements, AverageSquares{*this});
    tiles_.ForEach(kMinElements, Measure{*this, var.data(), direction.data()});
    const std::vector<double> of_var = tiles_.Totals(var);
    const std::vector<double> of_direction = tiles_.Totals(direction);
    for (size_t i = 0; i < tensors_.size(); ++i) {
      const auto count = static_cast<double>(std::max(size_t{1}, call_.tensors[i].count));
      lengths.emplace_back(coefficients_, static_cast<Compute>(std::sqrt(of_var[i] / count)),
                           static_cast<Compute>(std::sqrt(of_direction[i] / count)));
    }
    tiles_.ForEach(kMinElements, ApplySteps{*this, lengths.data()});
  }

 private:
  using Stored = typename Codec::Stored;
  using Compute = typename Codec::Compute;
  using Coefficients = typename R::template Coefficients<Compute>;
  using Length = typename R::template Length<Compute>;
  static constexpr bool kKeepsEstimates = R::kSpec.slots[2].layout == Layout::kLikeVar;
  using Plain = PlainCodec<Compute>;

  // A tensor and what is known of it in the course of a call.
  struct Tensor {
    explicit Tensor(const DenseTensor& tensor) : tiling(tensor) {
      if (!tiling.has_factors) return;
      row_sums.resize(tiling.matrices * tiling.rows * tiling.across);
      column_sums.resize(tiling.matrices * tiling.down * tiling.columns);
      of_rows.resize(tiling.matrices * tiling.rows);
      of_columns.resize(tiling.matrices * tiling.columns);
    }

    Tiling tiling;
    std::vector<double> row_sums;     // of each row, one for each tile across
    std::vector<double> column_sums;  // of each matrix, those of its columns for each tile down
    std::vector<Compute> of_rows, of_columns;  // factors of second moments
  };

  // The second moments of a part of a row.
  struct Moments {
    const Coefficients& c;
    Stored* v;
    const Compute* of_columns;  // null: v itself is the running mean
    Compute of_row;

    template <class D, class V>
    HWY_INLINE V At(D d, size_t i, V g) const {
      if (of_columns != nullptr) return of_row * hn::LoadU(d, of_columns + i);
      return R::Average(c, Codec::Load(d, v + i), R::Square(c, g));
    }

    // Whether v holds them after a step.
    bool are_kept() const { return kKeepsEstimates || of_columns == nullptr; }
  };

  // A part of a row: that in a tile.
  struct Part {
    Moments moments;
    const Stored* grad;
    Stored* var;
  };

  // The bodies of walks along a part.
  struct Squares {
    const Coefficients& c;
    const Stored* grad;
    Compute* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(grad + i);
      hn::StoreU(R::Square(c, Codec::Load(d, grad + i)), d, out + i);
    }
  };

  struct AddTo {
    double* sums;
    const Compute* terms;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      const auto term = Widened<Plain>{terms}(d, i);
      hn::StoreU(hn::Add(hn::LoadU(d, sums + i), term), d, sums + i);
    }
  };

  struct Directions {
    const Part& part;
    Compute* out;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(part.grad + i);
      const auto g = Codec::Load(d, part.grad + i);
      hn::StoreU(R::Direction(part.moments.c, g, part.moments.At(d, i, g)), d, out + i);
    }
  };

  struct Steps {
    const Part& part;
    const Length& length;

    template <class D>
    HWY_INLINE void operator()(D d, size_t i) const {
      FetchAhead(part.grad + i);
      FetchAhead(part.var + i);
      const auto g = Codec::Load(d, part.grad + i);
      const auto v = part.moments.At(d, i, g);
      const auto var = Codec::Load(d, part.var + i);
      if (part.moments.are_kept()) Codec::Store(d, v, part.moments.v + i);
      const auto direction = R::Direction(part.moments.c, g, v);
      Codec::Store(d, R::Stepped(length, var, direction), part.var + i);
    }
  };

  // The passes. Each is called for a tile (AverageSquares: a matrix) of tensor i.
  struct SumSquares {
    Factored& self;

    void operator()(size_t i, size_t number, size_t) const {
      Tensor& tensor = self.tensors_[i];
      const Tiling& tiling = tensor.tiling;
      const Tile tile(tiling, number);
      const Coefficients c = self.coefficients_;
      double* const column_sums = tensor.column_sums.data() +
                                  (tile.matrix * tiling.down + tile.down) * tiling.columns +
                                  tile.first_column;
      Stored block[Tiling::kColumns];
      Compute squares[Tiling::kColumns];
      for (size_t row = tile.first_row; row < tile.end_row; ++row) {
        const Stored* const grad = self.GradientOf(i, tile.Begin(tiling, row), tile.columns, block);
        WalkAll<Compute>(Squares{c, grad, squares}, tile.columns);
        WalkAll<double>(AddTo{column_sums, squares}, tile.columns);
        tensor.row_sums[row * tiling.across + tile.across] =
            SumOf<double>(Widened<Plain>{squares}, tile.columns);
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
      Compute* const of_rows = tensor.of_rows.data() + first_row;
      for (size_t row = 0; row < t.rows; ++row) {
        const double* const sums = tensor.row_sums.data() + (first_row + row) * t.across;
        double sum = 0;
        for (size_t k = 0; k < t.across; ++k) sum += sums[k];
        of_rows[row] = self.Renew(slots[0], first_row + row, sum / static_cast<double>(t.columns));
      }
      for (size_t column = 0; column < t.columns; ++column) {
        const double* const sums = tensor.column_sums.data() + first_column * t.down + column;
        double sum = 0;
        for (size_t k = 0; k < t.down; ++k) sum += sums[k * t.columns];
        tensor.of_columns[first_column + column] =
            self.Renew(slots[1], first_column + column, sum / static_cast<double>(t.rows));
      }
      const auto mean = static_cast<Compute>(SumOf<double>(Widened<Plain>{of_rows}, t.rows) /
                                             static_cast<double>(t.rows));
      const Compute divisor = R::Divisor(self.coefficients_, mean);
      for (size_t row = 0; row < t.rows; ++row) {
        of_rows[row] = ScalarQuotient(of_rows[row], divisor);
      }
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
      const Coefficients c = self.coefficients_;
      Stored block[Tiling::kColumns];
      Compute directions[Tiling::kColumns];
      double var = 0, direction = 0;
      for (size_t row = tile.first_row; row < tile.end_row; ++row) {
        const size_t begin = tile.Begin(tiling, row);
        const auto decay = [&] {
          BeforeUpdate(self.call_.dtype, tensor.decay_average, begin, tile.columns, tensor.var);
        };
        if (R::kDecaysFirst) decay();
        const Part part = self.PartOf(i, tile, row, c, block);
        WalkAll<Compute>(Directions{part, directions}, tile.columns);
        var += SumOf<double>(Squared<Codec>{part.var}, tile.columns);
        direction += SumOf<double>(Squared<Plain>{directions}, tile.columns);
        if (!R::kDecaysFirst) decay();
      }
      of_var[number_of_all] = var;
      of_direction[number_of_all] = direction;
    }
  };

  struct ApplySteps {
    const Factored& self;
    const Length* lengths;

    void operator()(size_t i, size_t number, size_t) const {
      const DenseTensor& tensor = self.call_.tensors[i];
      const Tiling& tiling = self.tensors_[i].tiling;
      const Tile tile(tiling, number);
      const Coefficients c = self.coefficients_;
      const Length length = lengths[i];
      Stored block[Tiling::kColumns];
      for (size_t row = tile.first_row; row < tile.end_row; ++row) {
        const Part part = self.PartOf(i, tile, row, c, block);
        WalkAll<Compute>(Steps{part, length}, tile.columns);
        AfterUpdate(self.call_.dtype, tensor.decay_average, tile.Begin(tiling, row), tile.columns,
                    tensor.var);
      }
    }
  };

  const Stored* GradientOf(size_t i, size_t begin, size_t count, Stored* block) const {
    const DenseTensor& tensor = call_.tensors[i];
    return static_cast<const Stored*>(
        GradientSpan(call_.dtype, tensor.grad, tensor.transform, begin, count, block));
  }

  // `row` of all rows; the gradient may lie in `block`.
  Part PartOf(size_t i, const Tile& tile, size_t row, const Coefficients& c, Stored* block) const {
    const Tensor& tensor = tensors_[i];
    const DenseTensor& arrays = call_.tensors[i];
    const size_t begin = tile.Begin(tensor.tiling, row);
    const bool has_v = kKeepsEstimates || !tensor.tiling.has_factors;
    Stored* const v = has_v ? static_cast<Stored*>(arrays.slots[2]) + begin : nullptr;
    Part part{{c, v, nullptr, 0},
              GradientOf(i, begin, tile.columns, block),
              static_cast<Stored*>(arrays.var) + begin};
    if (tensor.tiling.has_factors) {
      part.moments.of_row = tensor.of_rows[row];
      part.moments.of_columns =
          tensor.of_columns.data() + tile.matrix * tensor.tiling.columns + tile.first_column;
    }
    return part;
  }

  // Averages element k of a slot with a new mean; returns it unrounded.
  Compute Renew(void* slot, size_t k, double mean) const {
    const hn::CappedTag<Compute, 1> one;
    Stored* const stored = static_cast<Stored*>(slot) + k;
    const Compute old = hn::GetLane(Codec::Load(one, stored));
    const Compute now = R::Average(coefficients_, old, static_cast<Compute>(mean));
    Codec::Store(one, hn::Set(one, now), stored);
    return now;
  }

  const DenseCall& call_;
  Coefficients coefficients_;
  std::vector<Tensor> tensors_;
  Blocks tiles_, factored_tiles_, factored_;
};

}  // namespace HWY_NAMESPACE
}  // namespace slotwise
HWY_AFTER_NAMESPACE();

#endif
