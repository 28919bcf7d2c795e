// Sums of the keys' values, weighted with the affinity, over whole windows in one pass, as
// `liir.matching.window_tally`; and with Gaussians in place of confident rows, as
// `liir.compactness.condensed_window`. Compiled like search.cpp.
//
// The softmax runs along: sums are relative to the largest score so far of each query.

#include "frames.h"
#include "prior.h"

#include <cmath>
#include <cstring>

namespace {

constexpr int QUERIES = HEIGHT * WIDTH;  // of a tile
constexpr float NOTHING = -1e30f;  // the score of what is not in the window

struct Values {
    const float *packed;  // (references, height, channels, wide), zero beyond the frame
    int channels;
};

// Of one query and one row of keys.
template <class Kind> float product(const uint32_t *query, const uint32_t *key, int lanes) {
    __m512 sum = _mm512_setzero_ps();
    for (int lane = 0; lane < lanes; lane += VECTOR) {
        const __mmask16 some = lanes - lane >= VECTOR ? 0xffff : (1 << (lanes - lane)) - 1;
        sum = Kind::product(sum, _mm512_maskz_loadu_epi32(some, query + lane),
                            _mm512_maskz_loadu_epi32(some, key + lane));
    }
    return _mm512_reduce_add_ps(sum);
}

// Sums over a few rows of queries.
//
// The best keys of a row lie where its largest scores are. Of each lane the `best` largest are
// kept, with the number of the vectors they came from in their last bits; few rows turn out to be
// confident, and only there the products are made once more, exactly, and chosen from.
template <class Kind> struct Tally {
    const Frames &frames;
    const Values &values;
    const Prior &prior;
    const float scale;  // of products: scores are exponents of two
    const int top;
    float *total;  // (height, width, channels)
    const int channels = values.channels, best = prior.count;
    const int summed = channels - int(best && prior.published);  // ones sum up to the mass
    int left = 0, columns = 0;

    // Of the reference that is met, a vector each: readings, mass, largest scores.
    const int kinds = summed + 1 + best;
    std::vector<__m512> sums = std::vector<__m512>(QUERIES * kinds);
    float most[QUERIES] = {};  // the largest score so far, which readings and mass are of
    const int bits = 32 - __builtin_clz((HEIGHT + 2 * frames.margin) * across(frames.margin));
    // Of those met before, one number of each query after the other: relative to which score,
    // readings, mass, largest score. And the largest scores.
    const int rows = best ? frames.references : 1, told = summed + 3;
    std::vector<float> done = std::vector<float>(rows * told * QUERIES);
    std::vector<__m512> largest = std::vector<__m512>(rows * QUERIES * best);
    // Rows that may be confident, and cells among which their best keys are.
    struct Row {
        int reference, query;  // of the tile
        size_t first = 0, last = 0;
    };
    std::vector<Row> confident;
    float whole[QUERIES];  // sums of shares
    std::vector<int64_t> found;

    void begin(int first, int count) {
        left = first, columns = count;
        std::fill_n(most, QUERIES, NOTHING / 10);
        clear();
    }

    void clear() {
        for (__m512 *own = sums.data(); own < sums.data() + sums.size(); own += kinds) {
            std::fill_n(own, summed + 1, _mm512_setzero_ps());
            std::fill_n(own + summed + 1, best, _mm512_set1_ps(NOTHING));
        }
    }

    template <int count>
    [[gnu::always_inline]] void take(int row, const Place &place,
                                     __m512 (&products)[count][WIDTH]) {
        __m512 held[count][WIDTH];
#pragma GCC unroll 8
        for (int i = 0; i < WIDTH; i++)
#pragma GCC unroll 3
            for (int v = 0; v < count; v++) held[v][i] = products[v][i];
        const int64_t line = int64_t(place.reference) * frames.height + place.y;
        const float *read = values.packed + line * channels * frames.wide + frames.margin + place.x;
        const __m512i last = _mm512_set1_epi32((1 << bits) - 1);
        const __m512i number = _mm512_set1_epi32(place.number);
        for (int i = 0; i < columns; i++) {
            __m512 *own = sums.data() + (row * WIDTH + i) * kinds;
            __m512 part[count], high = _mm512_set1_ps(NOTHING);
#pragma GCC unroll 3
            for (int v = 0; v < count; v++) {
                part[v] = _mm512_mask_mul_ps(_mm512_set1_ps(NOTHING), place.inside[v][i],
                                             held[v][i], _mm512_set1_ps(scale));
                high = _mm512_max_ps(high, part[v]);
            }
            float &known = most[row * WIDTH + i];
            if (_mm512_cmp_ps_mask(high, _mm512_set1_ps(known), _CMP_GT_OQ)) {
                const float now = _mm512_reduce_max_ps(high);
                const __m512 factor = power(_mm512_set1_ps(known - now));
                for (int k = 0; k <= summed; k++) own[k] = _mm512_mul_ps(own[k], factor);
                known = now;
            }
            __m512 mass = own[summed];
#pragma GCC unroll 3
            for (int v = 0; v < count; v++) {
                part[v] = power(_mm512_sub_ps(part[v], _mm512_set1_ps(known)));
                mass = _mm512_add_ps(mass, part[v]);
            }
            own[summed] = mass;
            for (int k = 0; k < summed; k++) {
                const float *from = read + k * frames.wide;
                __m512 sum = own[k];
#pragma GCC unroll 3
                for (int v = 0; v < count; v++)
                    sum = _mm512_fmadd_ps(part[v], _mm512_loadu_ps(from + v * VECTOR), sum);
                own[k] = sum;
            }
            // Where a bit of `last` is set that of `number`, else that of the score.
            __m512 next = _mm512_castsi512_ps(
                _mm512_ternarylogic_epi32(last, number, _mm512_castps_si512(high), 0xCA));
            for (int j = summed + 1; j < kinds; j++) {
                const __m512 lower = _mm512_min_ps(own[j], next);
                own[j] = _mm512_max_ps(own[j], next);
                next = lower;
            }
        }
    }

    // One reference is met: its sums are put aside.
    void end(int reference) {
        if (!best && reference) return;
        for (int query = 0; query < QUERIES; query++) {
            const __m512 *own = sums.data() + query * kinds;
            float *to = told_of(reference) + query;
            to[0] = most[query];
            for (int k = 0; k <= summed; k++) to[(1 + k) * QUERIES] = _mm512_reduce_add_ps(own[k]);
            if (!best) continue;
            own += summed + 1;
            to[(summed + 2) * QUERIES] = _mm512_reduce_max_ps(own[0]);
            std::copy_n(own, best, &largest[(reference * QUERIES + query) * best]);
        }
        if (reference) clear();
    }

    // All are met: their sums come together, or what the Gaussians say in their place.
    void finish() {
        std::fill_n(whole, QUERIES, 0.f);
        for (int r = 0; r < rows; r++) {
            float *own = told_of(r);
            for (int q = 0; q < QUERIES; q += VECTOR) {
                const __m512 factor = power(_mm512_loadu_ps(own + q) - _mm512_loadu_ps(most + q));
                for (int k = q + QUERIES; k <= q + (summed + 1) * QUERIES; k += QUERIES)
                    _mm512_storeu_ps(own + k, factor * _mm512_loadu_ps(own + k));
            }
            for (int q = 0; q < QUERIES; q++) whole[q] += own[(summed + 1) * QUERIES + q];
        }
        for (int query = 0; query < QUERIES; query++)
            if (met(query)) std::fill_n(out(query), channels, 0.f);
        found.clear(), confident.clear();
        for (int r = 0; r < rows; r++) {
            const uint32_t sure = may_be(r);
            for (int query = 0; query < QUERIES; query++) {
                if (!met(query)) continue;
                if (sure >> query & 1) seek(r, query);
                else keep(r, query);
            }
        }
        for (const Row &row : confident) replace(row);
    }

    // Whether a query of the tile is in the frame; where it is; and what it gets.
    bool met(int query) const {
        return top + query / WIDTH < frames.height && query % WIDTH < columns;
    }
    int64_t cell(int query) const {
        return int64_t(top + query / WIDTH) * frames.width + left + query % WIDTH;
    }
    float *out(int query) const { return total + cell(query) * channels; }

    float *told_of(int reference) { return done.data() + reference * told * QUERIES; }

    // Adds what was read of a row.
    void keep(int reference, int query) {
        const float *part = told_of(reference) + QUERIES + query;
        for (int k = 0; k < channels; k++) out(query)[k] += part[k * QUERIES] / whole[query];
    }

    // Queries, a bit each, whose row may be confident.
    uint32_t may_be(int reference) {
        const float *peaks = told_of(reference) + (summed + 2) * QUERIES;
        uint32_t sure = 0;
        for (int q = 0; best && q < QUERIES; q += VECTOR) {
            const __m512 peak = _mm512_loadu_ps(peaks + q);
            const __m512 above = peak + slack(1) * _mm512_abs_ps(peak) - _mm512_loadu_ps(most + q);
            const __m512 least = prior.threshold * _mm512_loadu_ps(whole + q);
            sure |= uint32_t(_mm512_cmp_ps_mask(power(above), least, _CMP_GT_OQ)) << q;
        }
        return sure;
    }

    // Finds cells among which the best keys of a row are; they are on their way from memory then.
    void seek(int reference, int query) {
        const __m512 *own = &largest[(reference * QUERIES + query) * best];
        const __m512 least = _mm512_set1_ps(worst(own));
        Row row{reference, query, found.size()};
        for (int j = 0; j < best; j++) {
            int numbers[VECTOR];
            std::memcpy(numbers, own + j, sizeof numbers);
            unsigned lanes = _mm512_cmp_ps_mask(own[j], least, _CMP_GE_OQ);
            for (; lanes; lanes &= lanes - 1) {
                const int lane = __builtin_ctz(lanes);
                find(numbers[lane] & ((1 << bits) - 1), lane, reference, left + query % WIDTH);
            }
        }
        row.last = found.size();
        confident.push_back(row);
    }

    // The cells that a number of a lane may stand for: one of each vector that was met together.
    void find(int number, int lane, int reference, int column) {
        const int radius = frames.radii[reference], vectors = across(radius);
        const int first = number % vectors, y = line(top, number / vectors);
        for (int v = first; v < first + together(vectors - first); v++) {
            const int x = left - radius + v * VECTOR + lane;
            if (x < 0 || x >= frames.width || std::abs(x - column) > radius) continue;
            const int64_t cell = (int64_t(reference) * frames.height + y) * frames.width + x;
            found.push_back(cell);
            for (int l = 0; l < frames.lanes; l += VECTOR)
                _mm_prefetch(frames.keys + cell * frames.lanes + l, _MM_HINT_T0);
        }
    }

    // What the last of the best keys scores, at the least. Of each lane the largest come first: the
    // largest of all is taken from those in front, as many times as there are best keys, and its
    // lane moves up (and those that equal it, which makes it only less).
    float worst(const __m512 *own) const {
        __m512 left[BEST + 1];
        std::copy_n(own, best, left);
        left[best] = _mm512_set1_ps(NOTHING);
        float score = NOTHING;
        for (int taken = 0; taken < best; taken++) {
            score = _mm512_reduce_max_ps(left[0]);
            const __mmask16 here = _mm512_cmp_ps_mask(left[0], _mm512_set1_ps(score), _CMP_EQ_OQ);
            for (int j = 0; j < best - taken; j++)
                left[j] = _mm512_mask_mov_ps(left[j], here, left[j + 1]);
        }
        return std::max(score - slack(score), NOTHING / 2);
    }

    // What the number in its last bits may have changed of a score, twice over.
    float slack(float score) const { return std::abs(score) * std::ldexp(1.f, bits - 22); }

    // Adds what the Gaussians of a row read; or what was read before, if it is not confident.
    void replace(const Row &row) {
        float shares[BEST];
        int64_t cells[BEST];
        std::fill_n(shares, best, -infinity);
        std::fill_n(cells, best, int64_t(0));
        const uint32_t *query = frames.queries + cell(row.query) * frames.lanes;
        for (size_t n = row.first; n < row.last; n++) {
            const uint32_t *key = frames.keys + found[n] * frames.lanes;
            const float score = scale * product<Kind>(query, key, frames.lanes);
            if (score > shares[best - 1]) insert(shares, cells, best, score, found[n]);
        }
        for (int j = 0; j < best; j++)
            shares[j] = std::exp2(shares[j] - most[row.query]) / whole[row.query];
        if (shares[0] <= prior.threshold) return keep(row.reference, row.query);
        const float mass = told_of(row.reference)[(summed + 1) * QUERIES + row.query];
        prior.read(shares, cells, best, mass / whole[row.query], out(row.query));
    }
};

template <class Kind>
void tally(const Frames &frames, const Values &values, const Prior &prior, float scale,
           int threads, float *total) {
    run(frames, threads, [&](int top) {
        Tally<Kind> task{frames, values, prior, scale, top, total};
        band<Kind>(frames, top, task);
    });
}

}  // namespace

extern "C" {

// `values` is (references, height, width, channels); `packed_values` must hold references x height
// x channels x liir_wide; `bell` is 2 reach + 1 long. Returns 0, or 1 where this was compiled
// without the number format.
int liir_tally(const void *queries, const void *keys, void *packed, const int *radii,
               int references, int height, int width, int lanes, int bfloat16, int threads,
               float *packed_values, float scale, const float *values, int channels, int gaussians,
               float threshold, int published, const float *bell, int reach, float *total) {
    const Frames frames =
        frames_of(queries, keys, packed, radii, references, height, width, lanes);
    Prior prior{gaussians,  threshold, bool(published), bell,    reach, values,
                references, height,    width,           channels};
    scale *= LOG2_E;
    prior.blur(threads);
    share(references * height, threads, [&](int row) {
        float *to = packed_values + int64_t(row) * channels * frames.wide;
        std::fill_n(to, int64_t(channels) * frames.wide, 0.f);
        pack(reinterpret_cast<const uint32_t *>(values) + int64_t(row) * width * channels,
             reinterpret_cast<uint32_t *>(to) + frames.margin, width, channels, frames.wide);
    });
    if (!bfloat16) {
        tally<Float>(frames, {packed_values, channels}, prior, scale, threads, total);
        return 0;
    }
#ifdef __AVX512BF16__
    tally<Bfloat16>(frames, {packed_values, channels}, prior, scale, threads, total);
    return 0;
#else
    return 1;
#endif
}
}
