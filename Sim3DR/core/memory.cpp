#include "memory.h"

#include <algorithm>
#include <mutex>
#include <new>

namespace sim3dr {
namespace {

constexpr std::size_t MOST_KEPT = std::size_t(64) << 20;

struct Spare {
  void *data;
  std::size_t capacity;
};

// From small to large; the empty ones, of capacity 0, first.
std::mutex mutex;
Spare spares[4] = {};

void swap_in(Spare &place, Spare fresh, Spare &left_over) {
  left_over = place;
  place = fresh;
  std::sort(std::begin(spares), std::end(spares),
            [](const Spare &a, const Spare &b) { return a.capacity < b.capacity; });
}

} // namespace

Memory::Memory(std::size_t bytes) : data_(nullptr), capacity_(std::max<std::size_t>(bytes, 1)) {
  {
    // Not waited for: a process may have been forked while another thread held it.
    const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
    if (lock.owns_lock()) {
      const auto fits = std::find_if(std::begin(spares), std::end(spares),
                                     [&](const Spare &spare) { return spare.capacity >= capacity_; });
      if (fits != std::end(spares)) {
        Spare taken;
        swap_in(*fits, {nullptr, 0}, taken);
        data_ = taken.data;
        capacity_ = taken.capacity;
        return;
      }
    }
  }
  data_ = ::operator new(capacity_);
}

Memory::~Memory() {
  Spare left_over = {data_, capacity_};
  {
    const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
    if (lock.owns_lock()) {
      std::size_t others = 0; // all but the smallest, which makes room
      for (int i = 1; i < 4; ++i)
        others += spares[i].capacity;
      if (capacity_ > spares[0].capacity && others + capacity_ <= MOST_KEPT)
        swap_in(spares[0], left_over, left_over);
    }
  }
  ::operator delete(left_over.data);
}

} // namespace sim3dr
