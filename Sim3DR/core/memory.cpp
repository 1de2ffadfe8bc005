#include "memory.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <new>

namespace sim3dr {
namespace {

constexpr std::size_t MAX_KEPT = std::size_t(64) << 20;
// The allocator of the system is fast for smaller blocks.
constexpr std::size_t MIN_KEPT = std::size_t(64) << 10;
// A request occupies the whole of a reused block: at most this many times its own size.
constexpr std::size_t MAX_TIMES = 4;
constexpr std::size_t PLACES = 16;

struct Spare {
  void *data;
  std::size_t capacity;
};

// The most recent first, then empty ones, of capacity 0.
std::mutex mutex;
Spare spares[PLACES] = {};

// Keeps `fresh` and drops as many of the oldest as necessary: those are written to `gone`, which is empty.
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
    // Without waiting: the process may have been forked while another thread held the lock.
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
