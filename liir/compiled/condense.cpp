// Sums of the values of best keys, with Gaussians in place of confident rows, as
// `liir.compactness.condensed`. Compiled like search.cpp.

#include "frames.h"
#include "prior.h"

namespace {

// Of a few queries and their keys, best first. A row is the keys of one reference; a vector holds
// one key of each query.
void condense(const float *shares, const int64_t *cells, int count, int topk, const Prior &prior,
              float *out) {
    const double references = 1. / (double(prior.height) * prior.width);  // a cell
    __m512 share[BEST], peak[BEST];
    __m512i owner[BEST];
    for (int j = 0; j < topk; j++) {
        float some[VECTOR] = {};
        int of[VECTOR] = {};
        for (int i = 0; i < count; i++) {
            some[i] = shares[i * topk + j];
            of[i] = int((cells[i * topk + j] + 0.5) * references);
        }
        share[j] = _mm512_loadu_ps(some), owner[j] = _mm512_loadu_si512(of);
    }
    const auto same = [&](int j, int other) {
        return _mm512_cmpeq_epi32_mask(owner[j], owner[other]);
    };
    __mmask16 sure[BEST];
    for (int j = 0; j < topk; j++) {
        __m512 first = share[j];  // of the row: its largest
        __m512i place = _mm512_setzero_si512();
        for (int other = j - 1; other >= 0; other--) {
            first = _mm512_mask_mov_ps(first, same(j, other), share[other]);
            place = _mm512_mask_add_epi32(place, same(j, other), place, _mm512_set1_epi32(1));
        }
        sure[j] = _mm512_cmp_ps_mask(first, _mm512_set1_ps(prior.threshold), _CMP_GT_OQ);
        const __mmask16 best = _mm512_cmplt_epi32_mask(place, _mm512_set1_epi32(prior.count));
        peak[j] = _mm512_maskz_mov_ps(best, prior.peaks(share[j]));
    }
    std::fill_n(out, count * prior.channels, 0.f);
    for (int j = 0; j < topk; j++) {
        __m512 mass = _mm512_setzero_ps(), total = mass;
        for (int other = 0; other < topk; other++) {
            mass = _mm512_mask_add_ps(mass, same(j, other), mass, share[other]);
            total = _mm512_mask_add_ps(total, same(j, other), total, peak[other]);
        }
        if (prior.published) mass = _mm512_set1_ps(1);
        const __m512 read = _mm512_mask_div_ps(share[j], sure[j], mass * peak[j], total);
        float weights[VECTOR];
        _mm512_storeu_ps(weights, read);
        for (int i = 0; i < count; i++) {
            const float *from = sure[j] >> i & 1 ? prior.blurred.data() : prior.values;
            from += cells[i * topk + j] * prior.channels;
            float *to = out + i * prior.channels;
            for (int k = 0; k < prior.channels; k++) to[k] += weights[i] * from[k];
        }
    }
}

}  // namespace

extern "C" {

// `shares` and `cells` are (queries, topk), `values` (references, height, width, channels); `bell`
// is 2 reach + 1 long.
void liir_condense(const float *shares, const int64_t *cells, int queries, int topk,
                   int references, int height, int width, int threads, const float *values,
                   int channels, int gaussians, float threshold, int published,
                   const float *bell, int reach, float *total) {
    Prior prior{gaussians,  threshold, bool(published), bell,    reach, values,
                references, height,    width,           channels};
    prior.blur(threads);
    split((queries + VECTOR - 1) / VECTOR, threads, [&](int number) {
        const int64_t i = int64_t(number) * VECTOR;
        const int count = std::min(VECTOR, int(queries - i));
        condense(shares + i * topk, cells + i * topk, count, topk, prior, total + i * channels);
    });
}
}
