// The best keys of every query in its window: `liir.matching.match` in one pass, for processors
// with AVX-512. liir/kernel.py compiles it where there is a compiler; nothing depends on it.
//
// A lane is 32 bits: one float channel, or two bfloat16 channels side by side. Keys are laid out
// lane by lane along x, so that one vector holds the same lane of 16 neighbouring keys. A tile of
// queries meets every row of keys in its reach; only products that beat a query's k-th best so far
// leave the registers.

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

namespace {

constexpr int WIDTH = 8;    // queries of a tile along x
constexpr int HEIGHT = 4;   // and along y: a row of keys in the nearest cache meets all of them
constexpr int VECTOR = 16;  // keys in a vector
constexpr int MOST = 3;     // vectors multiplied together: 8 x 3 sums fit the registers
constexpr float infinity = std::numeric_limits<float>::infinity();

struct Job {
    const uint32_t *queries;  // (height, width, lanes)
    const uint32_t *keys;     // (references, height, width, lanes)
    uint32_t *packed;         // (references, height, lanes, wide); key x lies at margin + x
    const int *radii;         // (references,)
    int references, height, width, lanes, margin, wide, topk;
    float *values;   // (height, width, topk), best first
    int64_t *cells;  // (height, width, topk)
};

struct Float {
    static __m512 add(__m512 sum, uint32_t query, __m512i keys) {
        __m512 wide = _mm512_castsi512_ps(_mm512_set1_epi32(int(query)));
        return _mm512_fmadd_ps(wide, _mm512_castsi512_ps(keys), sum);
    }
};

#ifdef __AVX512BF16__
struct Bfloat16 {
    static __m512 add(__m512 sum, uint32_t query, __m512i keys) {
        return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(int(query)), (__m512bh)keys);
    }
};
#endif

// Runs task(0) ... task(count - 1); whichever thread is free takes the next.
template <class Task> void share(int count, int threads, const Task &task) {
    std::atomic<int> next{0};
    auto work = [&] {
        for (int i; (i = next++) < count;) task(i);
    };
    std::vector<std::thread> others;
    for (int t = 1; t < std::min(threads, count); t++) others.emplace_back(work);
    work();
    for (auto &other : others) other.join();
}

// Lays out one row of one reference.
void pack(const Job &job, int row) {
    const uint32_t *from = job.keys + int64_t(row) * job.width * job.lanes;
    uint32_t *to = job.packed + int64_t(row) * job.lanes * job.wide + job.margin;
    for (int start = 0; start < job.width; start += VECTOR) {
        int stop = std::min(start + VECTOR, job.width);
        for (int lane = 0; lane < job.lanes; lane++)
            for (int x = start; x < stop; x++)
                to[int64_t(lane) * job.wide + x] = from[int64_t(x) * job.lanes + lane];
    }
}

// The best keys of one query so far.
struct Best {
    float *values;
    int64_t *cells;

    void insert(int topk, float value, int64_t cell) {
        int place = topk - 1;
        for (; place > 0 && values[place - 1] < value; place--) {
            values[place] = values[place - 1];
            cells[place] = cells[place - 1];
        }
        values[place] = value;
        cells[place] = cell;
    }
};

struct Row {
    const uint32_t *queries[WIDTH];  // beyond the frame: the last one again
    Best best[WIDTH];
    float least[WIDTH];  // the k-th best of each query
};

// A row of queries with `count` neighbouring vectors of a row of keys, the first of them `cell`.
template <class Kind, int count>
void meet(const Job &job, Row &row, int columns, const uint32_t *keys, int64_t cell,
          const __mmask16 (*inside)[WIDTH]) {
    __m512 sums[count][WIDTH];  // in registers, as long as every index is known
#pragma GCC unroll 8
    for (int i = 0; i < WIDTH; i++)
#pragma GCC unroll 3
        for (int v = 0; v < count; v++) sums[v][i] = _mm512_setzero_ps();
    for (int lane = 0; lane < job.lanes; lane++) {
        __m512i part[count];
#pragma GCC unroll 3
        for (int v = 0; v < count; v++)
            part[v] = _mm512_loadu_si512(keys + int64_t(lane) * job.wide + v * VECTOR);
#pragma GCC unroll 8
        for (int i = 0; i < WIDTH; i++)
#pragma GCC unroll 3
            for (int v = 0; v < count; v++)
                sums[v][i] = Kind::add(sums[v][i], row.queries[i][lane], part[v]);
    }
    // Most keys are no better than what is known: only the others leave the registers.
    unsigned any = 0;
#pragma GCC unroll 8
    for (int i = 0; i < WIDTH; i++) {
        const __m512 least = _mm512_set1_ps(row.least[i]);
#pragma GCC unroll 3
        for (int v = 0; v < count; v++)
            any |= _mm512_cmp_ps_mask(sums[v][i], least, _CMP_GT_OQ);
    }
    if (!any) return;
    alignas(64) float scores[count][WIDTH][VECTOR];
#pragma GCC unroll 8
    for (int i = 0; i < WIDTH; i++)
#pragma GCC unroll 3
        for (int v = 0; v < count; v++) _mm512_store_ps(scores[v][i], sums[v][i]);
    for (int v = 0; v < count; v++) {
        for (int i = 0; i < columns; i++) {
            const float *own = scores[v][i];
            unsigned better = _mm512_mask_cmp_ps_mask(inside[v][i], _mm512_load_ps(own),
                                                      _mm512_set1_ps(row.least[i]), _CMP_GT_OQ);
            for (; better; better &= better - 1) {
                int x = __builtin_ctz(better);
                if (own[x] > row.least[i]) {
                    row.best[i].insert(job.topk, own[x], cell + v * VECTOR + x);
                    row.least[i] = row.best[i].values[job.topk - 1];
                }
            }
        }
    }
}

// Which keys of each vector are in the window of each query of a tile, and in the frame.
void look(const Job &job, int left, int radius, __mmask16 (*inside)[WIDTH]) {
    for (int v = 0; v * VECTOR < WIDTH + 2 * radius; v++)
        for (int i = 0; i < WIDTH; i++) {
            inside[v][i] = 0;
            for (int lane = 0; lane < VECTOR; lane++) {
                int place = v * VECTOR + lane, x = left - radius + place;
                bool near = place >= i && place <= i + 2 * radius;
                if (near && x >= 0 && x < job.width) inside[v][i] |= 1 << lane;
            }
        }
}

// The tiles of a few rows of queries.
template <class Kind> void band(const Job &job, int top) {
    const int bottom = std::min(top + HEIGHT, job.height);
    std::vector<__mmask16> masks((WIDTH + 2 * job.margin + VECTOR) / VECTOR * WIDTH);
    auto *inside = reinterpret_cast<__mmask16(*)[WIDTH]>(masks.data());
    for (int left = 0; left < job.width; left += WIDTH) {
        const int columns = std::min(WIDTH, job.width - left);
        Row rows[HEIGHT];
        for (int y = top; y < bottom; y++)
            for (int i = 0; i < WIDTH; i++) {
                int64_t query = int64_t(y) * job.width + left + std::min(i, columns - 1);
                rows[y - top].queries[i] = job.queries + query * job.lanes;
                rows[y - top].best[i] = {job.values + query * job.topk,
                                         job.cells + query * job.topk};
                rows[y - top].least[i] = i < columns ? -infinity : infinity;
            }
        // The best keys mostly lie near, in the latest reference: those come first.
        for (int r = job.references - 1, seen = -1; r >= 0; r--) {
            const int radius = job.radii[r];
            const int vectors = (WIDTH + 2 * radius + VECTOR - 1) / VECTOR;
            if (radius != seen) look(job, left, seen = radius, inside);
            for (int step = 0; step < HEIGHT + 2 * radius; step++) {
                const int away = (step + 1) / 2, middle = top + HEIGHT / 2;
                const int y = step % 2 ? middle - away : middle + away;
                if (y < 0 || y >= job.height) continue;
                const int64_t line = int64_t(r) * job.height + y;
                const uint32_t *keys =
                    job.packed + line * job.lanes * job.wide + job.margin + left - radius;
                const int64_t cell = line * job.width + left - radius;
                const int from = std::max(top, y - radius);
                const int to = std::min(bottom, y + radius + 1);
                for (int v = 0; v < vectors;) {
                    const int more = vectors - v == 4 ? 2 : std::min(vectors - v, MOST);
                    for (int query = from; query < to; query++) {
                        Row &row = rows[query - top];
                        const uint32_t *part = keys + v * VECTOR;
                        const int64_t first = cell + v * VECTOR;
                        if (more == 3) meet<Kind, 3>(job, row, columns, part, first, inside + v);
                        if (more == 2) meet<Kind, 2>(job, row, columns, part, first, inside + v);
                        if (more == 1) meet<Kind, 1>(job, row, columns, part, first, inside + v);
                    }
                    v += more;
                }
            }
        }
    }
}

template <class Kind> void run(const Job &job, int threads) {
    std::fill_n(job.values, int64_t(job.height) * job.width * job.topk, -infinity);
    std::fill_n(job.cells, int64_t(job.height) * job.width * job.topk, int64_t(0));
    share(job.references * job.height, threads, [&](int row) { pack(job, row); });
    share((job.height + HEIGHT - 1) / HEIGHT, threads,
          [&](int row) { band<Kind>(job, row * HEIGHT); });
}

}  // namespace

extern "C" {

// Lanes that a row of packed keys takes, `margin` the largest radius; `packed` must hold
// references x height x lanes of these.
int64_t liir_wide(int width, int margin) {
    const int tiles = (width + WIDTH - 1) / WIDTH;
    return int64_t(tiles) * WIDTH + 2 * margin + VECTOR;
}

// Returns 0, or 1 where this was compiled without the number format.
int liir_match(const void *queries, const void *keys, void *packed, const int *radii,
               int references, int height, int width, int lanes, int topk, int bfloat16,
               int threads, float *values, int64_t *cells) {
    const int margin = *std::max_element(radii, radii + references);
    Job job{static_cast<const uint32_t *>(queries),
            static_cast<const uint32_t *>(keys),
            static_cast<uint32_t *>(packed),
            radii,
            references,
            height,
            width,
            lanes,
            margin,
            int(liir_wide(width, margin)),
            topk,
            values,
            cells};
    if (!bfloat16) {
        run<Float>(job, threads);
        return 0;
    }
#ifdef __AVX512BF16__
    run<Bfloat16>(job, threads);
    return 0;
#else
    return 1;
#endif
}
}
