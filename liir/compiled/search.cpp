// The best keys of every query in its window: `liir.matching.match` in one pass, for processors
// with AVX-512. liir/kernel.py compiles it where there is a compiler; nothing depends on it.
//
// Only products that beat a query's k-th best so far leave the registers.

#include "frames.h"

namespace {

struct Best {
    float *values;
    int64_t *cells;
};

struct Search {
    const Frames &frames;
    const int top, topk;
    float *values;   // (height, width, topk), best first
    int64_t *cells;  // (height, width, topk)
    int columns = 0;
    Best best[HEIGHT][WIDTH] = {};  // of each query so far
    float least[HEIGHT][WIDTH] = {};  // the k-th best of each query

    void begin(int left, int count) {
        columns = count;
        for (int row = 0; row < std::min(HEIGHT, frames.height - top); row++)
            for (int i = 0; i < WIDTH; i++) {
                int64_t query =
                    int64_t(top + row) * frames.width + left + std::min(i, columns - 1);
                best[row][i] = {values + query * topk, cells + query * topk};
                least[row][i] = i < columns ? -infinity : infinity;
            }
    }

    template <int count>
    [[gnu::always_inline]] void take(int row, const Place &place, __m512 (&sums)[count][WIDTH]) {
        // Most keys are no better than what is known: only the others leave the registers.
        unsigned any = 0;
#pragma GCC unroll 8
        for (int i = 0; i < WIDTH; i++) {
            const __m512 limit = _mm512_set1_ps(least[row][i]);
#pragma GCC unroll 3
            for (int v = 0; v < count; v++)
                any |= _mm512_cmp_ps_mask(sums[v][i], limit, _CMP_GT_OQ);
        }
        if (!any) return;
        alignas(64) float scores[count][WIDTH][VECTOR];
#pragma GCC unroll 8
        for (int i = 0; i < WIDTH; i++)
#pragma GCC unroll 3
            for (int v = 0; v < count; v++) _mm512_store_ps(scores[v][i], sums[v][i]);
        const int64_t line = int64_t(place.reference) * frames.height + place.y;
        const int64_t cell = line * frames.width + place.x;
        for (int v = 0; v < count; v++)
            for (int i = 0; i < columns; i++) {
                const float *own = scores[v][i];
                float &limit = least[row][i];
                unsigned better =
                    _mm512_mask_cmp_ps_mask(place.inside[v][i], _mm512_load_ps(own),
                                            _mm512_set1_ps(limit), _CMP_GT_OQ);
                for (; better; better &= better - 1) {
                    int x = __builtin_ctz(better);
                    if (own[x] <= limit) continue;
                    const Best &kept = best[row][i];
                    insert(kept.values, kept.cells, topk, own[x], cell + v * VECTOR + x);
                    limit = kept.values[topk - 1];
                }
            }
    }

    void end(int) {}
    void finish() {}
};

template <class Kind>
void search(const Frames &frames, int topk, int threads, float *values, int64_t *cells) {
    const int64_t count = int64_t(frames.height) * frames.width * topk;
    std::fill_n(values, count, -infinity);
    std::fill_n(cells, count, int64_t(0));
    run(frames, threads, [&](int top) {
        Search task{frames, top, topk, values, cells};
        band<Kind>(frames, top, task);
    });
}

}  // namespace

extern "C" {

// Lanes that a row of packed keys takes, `margin` the largest radius; `packed` must hold
// references x height x lanes of these.
int64_t liir_wide(int width, int margin) { return row_lanes(width, margin); }

// Returns 0, or 1 where this was compiled without the number format.
int liir_match(const void *queries, const void *keys, void *packed, const int *radii,
               int references, int height, int width, int lanes, int topk, int bfloat16,
               int threads, float *values, int64_t *cells) {
    const Frames frames =
        frames_of(queries, keys, packed, radii, references, height, width, lanes);
    if (!bfloat16) {
        search<Float>(frames, topk, threads, values, cells);
        return 0;
    }
#ifdef __AVX512BF16__
    search<Bfloat16>(frames, topk, threads, values, cells);
    return 0;
#else
    return 1;
#endif
}
}
