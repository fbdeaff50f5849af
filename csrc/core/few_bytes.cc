// SPDX-License-Identifier: Apache-2.0
#include "core/few_bytes.h"

#include <cstring>

namespace slotwise {
namespace {

template <size_t kBytes>
void CopyPiece(const char*& from, size_t bytes, char*& to) {
  if ((bytes & kBytes) == 0) return;
  std::memcpy(to, from, kBytes);
  from += kBytes;
  to += kBytes;
}

}  // namespace

void CopyFewBytes(const void* from, size_t bytes, void* to) {
  auto* in = static_cast<const char*>(from);
  auto* out = static_cast<char*>(to);
  CopyPiece<32>(in, bytes, out);
  CopyPiece<16>(in, bytes, out);
  CopyPiece<8>(in, bytes, out);
  CopyPiece<4>(in, bytes, out);
  CopyPiece<2>(in, bytes, out);
}

}  // namespace slotwise
