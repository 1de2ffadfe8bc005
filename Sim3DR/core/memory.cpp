#include "memory.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <new>

namespace sim3dr {
namespace {

constexpr std::size_t MAX_KEPT = std::size_t(64) << 20;
// The system's own allocator is quick with what is smaller.
constexpr std::size_t MIN_KEPT = std::size_t(64) << 10;
// What takes memory holds on to all of it: no more than so many times what it asked for.
constexpr std::size_t MAX_TIMES = 4;
constexpr std::size_t PLACES = 16;

struct Spare {
  void *data;
  std::size_t capacity;
};

// The latest first, then empty ones, of capacity 0.
std::mutex mutex;
Spare spares[PLACES] = {};

// Keeps `fresh` in place of the oldest, as many as have to go: those are written to `gone`, which is empty.
void keep(Spare fresh, Spare (&gone)[PLACES]) {
  Spare kept[PLACES] = {fresh};
  std::size_t total = fresh.capacity, kept_count = 1, gone_count = 0;
  for (const Spare &spare : spares) {
    if (kept_count < PLACES && total + spare.capacity <= MAX_KEPT) {
      kept[kept_count++] = spare;
      total += spare.capacity;
    } else {
      gone[gone_count++] = spare;
    }
  }
  std::copy(std::begin(kept), std::end(kept), std::begin(spares));
}

} // namespace

Memory::Memory(std::size_t bytes) : data_(nullptr), capacity_(std::max<std::size_t>(bytes, 1)) {
  if (capacity_ >= MIN_KEPT) {
    // Not waited for: a process may have been forked while another thread held it.
    const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
    if (lock.owns_lock()) {
      Spare *best = nullptr;
      for (Spare &spare : spares)
        if (spare.capacity >= capacity_ && spare.capacity / MAX_TIMES <= capacity_ &&
            (best == nullptr || spare.capacity < best->capacity))
          best = &spare;
      if (best != nullptr) {
        data_ = best->data;
        capacity_ = best->capacity;
        std::move(best + 1, std::end(spares), best);
        spares[PLACES - 1] = {nullptr, 0};
        return;
      }
    }
  }
  data_ = ::operator new(capacity_);
}

Memory::~Memory() {
  Spare gone[PLACES] = {};
  bool is_kept = false;
  if (capacity_ >= MIN_KEPT && capacity_ <= MAX_KEPT) {
    const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
    if (lock.owns_lock()) {
      keep({data_, capacity_}, gone);
      is_kept = true;
    }
  }
  if (!is_kept)
    ::operator delete(data_);
  for (const Spare &spare : gone)
    ::operator delete(spare.data);
}

} // namespace sim3dr
