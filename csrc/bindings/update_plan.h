// SPDX-License-Identifier: Apache-2.0
// A list of variables with their slots, checked once, that one call updates by one rule.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/deferral.h"
#include "bindings/operands.h"
#include "bindings/written_memory.h"

namespace slotwise {

// Raises if there is no rule of this name.
const RuleEntry& FindRule(const std::string& name);

class UpdatePlan {
 public:
  struct Entry {
    pybind11::object key;  // the variable as the user passes it
    const char *grad_name, *ids_name;
    std::unique_ptr<Updated> arrays;
    std::optional<ArrayArgument> average;
    Pinned pinned_var, pinned_average;
    std::array<Pinned, kMaxSlots> pinned_slots;
    bool decays = false;
    pybind11::object holds_deferral;
    const Deferral* deferral = nullptr;  // null: rows stand at now

    // Each raises if an array is not what it was.
    void RequireUnchanged() const;
    void RequireAverageUnchanged() const;
  };

  // `entries` are tuples (key, name, var, slots...), the slots in the order of the rule's.
  // `averages` lists the moving average of each var, `decays` whether it decays, `deferrals` what
  // puts off the steps of its rows, or None; None: no var does.
  UpdatePlan(const std::string& op, const std::string& rule, const pybind11::list& entries,
             const pybind11::object& averages, const pybind11::object& decays,
             const pybind11::object& deferrals);

  int64_t CountFlushes() const;  // of what puts off steps: how often all rows were written
  // Whether `pairs`, a list of tuples, are gradients of just these variables, none of them None. A
  // variable is known by its memory: another view of it is the same.
  bool Matches(const pybind11::list& pairs) const;

  const char* op() const { return op_.c_str(); }
  const RuleEntry& rule() const { return rule_; }
  const std::vector<Entry>& entries() const { return entries_; }
  bool has_averages() const { return has_averages_; }
  bool has_decays() const { return has_decays_; }
  const WrittenMemory& written() const { return written_; }

 private:
  const std::string& Keep(std::string text) { return texts_.emplace_back(std::move(text)); }

  std::string op_;
  const RuleEntry& rule_;
  std::deque<std::string> texts_;  // names in errors; their addresses stay
  std::vector<Entry> entries_;
  bool has_averages_ = false, has_decays_ = false;
  WrittenMemory written_;
};

}  // namespace slotwise
