// Gaussians of fixed spread in place of confident rows, as `liir.compactness` has them. A Gaussian
// times the values is the blurred values, read at its middle.

#pragma once

#include "frames.h"
#include "power.h"

#include <numeric>

constexpr int BEST = 64;  // keys of a row, at most

// What takes the place of a confident row: `count` Gaussians.
struct Prior {
    int count;  // 0: none
    float threshold;
    bool published;     // peaks of one, weighted by a softmax, and the last of the channels holds
                        // ones; else they share the row's mass
    const float *bell;  // a Gaussian along one axis, from -reach to reach
    int reach;
    const float *values;  // (references, height, width, channels)
    int references, height, width, channels;
    std::vector<float> &blurred = kept();  // the values as a Gaussian around each cell sees them

    // Memory of each thread's largest call: to ask for it anew costs more than blurring.
    static std::vector<float> &kept() {
        static thread_local std::vector<float> own;
        return own;
    }

    // Blurs the values, where there are Gaussians; what of them lies beyond the frame is left out.
    void blur(int threads) {
        if (!count) return;
        const int64_t row = int64_t(width) * channels;
        blurred.resize(int64_t(references) * height * row);
        std::vector<float> across(row);
        for (int64_t i = 0; i < row; i++) across[i] = 1 / weight(int(i / channels), width);
        split(references * height, threads, [&](int number) {
            const int y = number / references;
            const int64_t line = int64_t(number % references) * height + y;
            const float *from = values + line * row;
            float *to = blurred.data() + line * row;
            std::vector<float> sum(row);
            std::fill_n(to, row, 0.f);
            const float whole = weight(y, height);
            for (int away = std::max(-reach, -y); away <= std::min(reach, height - 1 - y); away++)
                add(bell[reach + away] / whole, from + away * row, sum.data(), row);
            for (int away = -reach; away <= reach; away++) {
                const int64_t first = int64_t(std::max(0, -away)) * channels;
                const int64_t last = int64_t(std::min(width, width - away)) * channels;
                const int64_t beside = int64_t(away) * channels;
                add(bell[reach + away], sum.data() + first + beside, to + first, last - first);
            }
            for (int64_t i = 0; i < row; i++) to[i] *= across[i];
        });
    }

    static void add(float factor, const float *from, float *to, int64_t count) {
        for (int64_t i = 0; i < count; i++) to[i] += factor * from[i];
    }

    // What the Gaussian around a place sums to along one axis.
    float weight(int at, int length) const {
        const int first = std::max(-reach, -at), last = std::min(reach, length - 1 - at);
        return published ? 1 : std::accumulate(bell + reach + first, bell + reach + last + 1, 0.f);
    }

    // What Gaussians of such shares count for in their rows.
    __m512 peaks(__m512 shares) const {
        if (!published) return shares;
        const __mmask16 some = _mm512_cmp_ps_mask(shares, _mm512_setzero_ps(), _CMP_GT_OQ);
        return _mm512_maskz_mov_ps(some, power(shares * LOG2_E));
    }
    float peak(float share) const { return _mm512_cvtss_f32(peaks(_mm512_set1_ps(share))); }

    // Adds what the Gaussians around the best cells of one row read.
    void read(const float *shares, const int64_t *cells, int best, float mass, float *out) const {
        float total = 0;
        for (int j = 0; j < best; j++) total += peak(shares[j]);
        const float scale = (published ? 1 : mass) / total;
        for (int j = 0; j < best; j++) {
            const float *from = blurred.data() + cells[j] * channels;
            for (int k = 0; k < channels; k++) out[k] += scale * peak(shares[j]) * from[k];
        }
    }
};
