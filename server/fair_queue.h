// A line of waiting things, served by turns.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "server/clock.h"
#include "server/fair_share.h"

namespace tsenor::server {

// What waits, in the order of its turns: of the highest priority, waiting included, the smallest
// tag. A priority is as old as the oldest of its items, until that is served: those that come later
// with a smaller tag do not make it young again.
//
// Several queues may divide one FairShare, which outlives them. Owns its items. Thread-compatible.
template <typename Item>
class FairQueue {
 public:
  explicit FairQueue(FairShare& share) : share_(&share) {}

  void Push(Origin origin, int64_t bytes, Time arrived, Item item) {
    const double tag = share_->Enter(origin, bytes);
    Class& line = classes_[origin.priority];
    line.arrivals.insert(arrived);
    line.entries.emplace(tag, Entry{std::move(origin), bytes, arrived, std::move(item)});
  }

  bool empty() const { return classes_.empty(); }

  // The turn of the item that goes next, and the item. REQUIRES: !empty().
  Turn first_turn(Time now, Duration ageing) const { return First(now, ageing).second; }
  const Item& first(Time now, Duration ageing) const {
    return First(now, ageing).first->second.entries.begin()->second.item;
  }

  // Takes that item: `served` if it gets what it waited for. REQUIRES: !empty().
  Item TakeFirst(Time now, Duration ageing, bool served) {
    const auto line = classes_.find(First(now, ageing).first->first);
    return Remove(line, line->second.entries.begin(), served);
  }

  // Takes, unserved, every item for which `is_unwanted` holds.
  template <typename Predicate>
  std::vector<Item> TakeIf(Predicate is_unwanted) {
    std::vector<Item> taken;
    for (auto line = classes_.begin(); line != classes_.end();) {
      const auto following = std::next(line);
      for (auto entry = line->second.entries.begin(), end = line->second.entries.end();
           entry != end;) {
        const auto next = std::next(entry);
        // The class goes with its last entry.
        const bool last = next == end;
        if (is_unwanted(entry->second.item)) taken.push_back(Remove(line, entry, false));
        if (last) break;
        entry = next;
      }
      line = following;
    }
    return taken;
  }

  // When the item that waits longest arrived. REQUIRES: !empty().
  Time oldest() const {
    Time oldest = Time::max();
    for (const auto& [priority, line] : classes_) oldest = std::min(oldest, *line.arrivals.begin());
    return oldest;
  }

 private:
  struct Entry {
    Origin origin;
    int64_t bytes;
    Time arrived;
    Item item;
  };
  using Entries = std::multimap<double, Entry>;  // by tag; equal ones in the order of arrival
  // One priority. Never empty.
  struct Class {
    Entries entries;
    std::multiset<Time> arrivals;
  };
  using Classes = std::map<int, Class>;

  std::pair<typename Classes::const_iterator, Turn> First(Time now, Duration ageing) const {
    assert(!empty());
    std::pair<typename Classes::const_iterator, Turn> best;
    for (auto line = classes_.begin(); line != classes_.end(); ++line) {
      const auto& [tag, entry] = *line->second.entries.begin();
      const Turn turn = {
          .level = AgedPriority(line->first, now - *line->second.arrivals.begin(), ageing),
          .last_served = share_->last_served(line->first),
          .tag = tag,
          .arrived = entry.arrived};
      if (line == classes_.begin() || turn.Precedes(best.second)) best = {line, turn};
    }
    return best;
  }

  Item Remove(typename Classes::iterator line, typename Entries::iterator entry, bool served) {
    const Origin& origin = entry->second.origin;
    served ? share_->Serve(origin, entry->second.bytes) : share_->Leave(origin);
    Item item = std::move(entry->second.item);
    line->second.arrivals.erase(line->second.arrivals.find(entry->second.arrived));
    line->second.entries.erase(entry);
    if (line->second.entries.empty()) classes_.erase(line);
    return item;
  }

  FairShare* share_;
  Classes classes_;
};

}  // namespace tsenor::server
