// Sums of the keys' values, weighted with the affinity: over whole windows in one pass, as
// `liir.matching.window_tally`; and with the Gaussians of `liir.compactness` in place of confident
// rows, there and over best keys. Compiled like search.cpp.
//
// The softmax runs along: sums are relative to the largest score so far of each query.

#include "frames.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

namespace {

constexpr int BEST = 64;          // keys of a row, at most
constexpr float NOTHING = -1e30f;  // the score of what is not in the window

// What takes the place of confident rows: Gaussians of fixed spread, `count` of them in each.
struct Prior {
    int count;  // 0: none
    float threshold;
    bool published;     // peaks of one, weighted by a softmax; else they share the row's mass
    const float *bell;  // a Gaussian along one axis, from -reach to reach
    int reach;
    const float *values;  // (references, height, width, channels)
    int references, height, width, channels;
    std::vector<float> blurred = {};  // the values as a Gaussian around each cell sees them

    // Blurs the values, where there are Gaussians; what of them lies beyond the frame is left out.
    void blur(int threads) {
        if (!count) return;
        const int64_t row = int64_t(width) * channels;
        blurred.resize(int64_t(references) * height * row);
        std::vector<float> across(row);
        for (int64_t i = 0; i < row; i++) across[i] = weight(int(i / channels), width);
        share(references * height, threads, [&](int number) {
            const int y = number % height;
            const float *from = values + number * row;
            float *to = blurred.data() + number * row;
            std::vector<float> sum(row);
            const float whole = weight(y, height);
            for (int away = std::max(-reach, -y); away <= std::min(reach, height - 1 - y); away++)
                add(bell[reach + away] / whole, from + away * row, sum.data(), row);
            for (int away = -reach; away <= reach; away++) {
                const int64_t first = int64_t(std::max(0, -away)) * channels;
                const int64_t last = int64_t(std::min(width, width - away)) * channels;
                const int64_t beside = int64_t(away) * channels;
                add(bell[reach + away], sum.data() + first + beside, to + first, last - first);
            }
            for (int64_t i = 0; i < row; i++) to[i] /= across[i];
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

    // Adds what the Gaussians around the best cells of one row read.
    void read(const float *shares, const int64_t *cells, int best, float mass, float *out) const {
        float weights[BEST], total = 0;
        for (int j = 0; j < best; j++) {
            weights[j] = !published ? shares[j] : shares[j] > 0 ? std::exp(shares[j]) : 0;
            total += weights[j];
        }
        const float scale = (published ? 1 : mass) / total;
        for (int j = 0; j < best; j++) {
            const float *from = blurred.data() + cells[j] * channels;
            for (int k = 0; k < channels; k++) out[k] += scale * weights[j] * from[k];
        }
    }
};

// e^x of x <= 0, to 2e-7 of it: 2^n times the power series of what is left, at most ln(2) / 2.
inline __m512 exponential(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-104));  // e^-104 is zero
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    x = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);  // ln(2) in two parts
    x = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), x);
    __m512 sum = _mm512_set1_ps(1.f / 720);
    for (float factor : {1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1.f, 1.f})
        sum = _mm512_fmadd_ps(sum, x, _mm512_set1_ps(factor));
    return _mm512_scalef_ps(sum, n);
}

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
    const float scale;  // of products
    const int top;
    float *total;  // (height, width, channels)
    const int channels = values.channels, best = prior.count;
    int left = 0, columns = 0;

    // Of the reference that is met, a vector each: mass, readings, largest scores.
    const int kinds = 1 + channels + best;
    std::vector<__m512> sums = std::vector<__m512>(HEIGHT * WIDTH * kinds);
    float most[HEIGHT][WIDTH] = {};  // the largest score so far, which mass and readings are of
    const int bits = 32 - __builtin_clz((HEIGHT + 2 * frames.margin) * across(frames.margin));
    // Of those met before: relative to which score, mass and readings; and largest scores.
    const int rows = best ? frames.references : 1, told = 2 + channels;
    std::vector<float> done = std::vector<float>(HEIGHT * WIDTH * rows * told);
    std::vector<__m512> largest = std::vector<__m512>(HEIGHT * WIDTH * rows * best);
    // Rows that may be confident, and cells among which their best keys are.
    struct Row {
        int64_t query;
        float most, whole;  // its largest score, and the sum of its shares
        const float *part;  // mass and readings of the row
        size_t first = 0, last = 0;
    };
    std::vector<Row> confident;
    std::vector<int64_t> found;

    void begin(int first, int count) {
        left = first, columns = count;
        for (auto &row : most) std::fill_n(row, WIDTH, NOTHING / 10);
        clear();
    }

    void clear() {
        for (size_t i = 0; i < sums.size(); i++)
            sums[i] = _mm512_set1_ps(int(i % kinds) <= channels ? 0 : NOTHING);
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
            float &known = most[row][i];
            if (_mm512_cmp_ps_mask(high, _mm512_set1_ps(known), _CMP_GT_OQ)) {
                const float now = _mm512_reduce_max_ps(high);
                const __m512 factor = exponential(_mm512_set1_ps(known - now));
                for (int k = 0; k <= channels; k++) own[k] = _mm512_mul_ps(own[k], factor);
                known = now;
            }
#pragma GCC unroll 3
            for (int v = 0; v < count; v++) {
                const __m512 weight = exponential(_mm512_sub_ps(part[v], _mm512_set1_ps(known)));
                own[0] = _mm512_add_ps(own[0], weight);
                for (int k = 0; k < channels; k++) {
                    const float *from = read + k * frames.wide + v * VECTOR;
                    own[1 + k] = _mm512_fmadd_ps(weight, _mm512_loadu_ps(from), own[1 + k]);
                }
            }
            // Where a bit of `last` is set that of `number`, else that of the score.
            __m512 next = _mm512_castsi512_ps(
                _mm512_ternarylogic_epi32(last, number, _mm512_castps_si512(high), 0xCA));
            for (int j = 1 + channels; j < kinds; j++) {
                const __m512 lower = _mm512_min_ps(own[j], next);
                own[j] = _mm512_max_ps(own[j], next);
                next = lower;
            }
        }
    }

    // One reference is met: its sums are put aside.
    void end(int reference) {
        if (!best && reference) return;
        for (int row = 0; row < std::min(HEIGHT, frames.height - top); row++)
            for (int i = 0; i < columns; i++) {
                const int place = (row * WIDTH + i) * rows + reference;
                const __m512 *own = sums.data() + (row * WIDTH + i) * kinds;
                float *to = done.data() + place * told;
                *to++ = most[row][i];
                for (int k = 0; k <= channels; k++) *to++ = _mm512_reduce_add_ps(own[k]);
                std::copy_n(own + 1 + channels, best, largest.data() + place * best);
            }
        if (reference) clear();
    }

    // All are met: their sums come together, or what the Gaussians say in their place.
    void finish() {
        found.clear(), confident.clear();
        for (int row = 0; row < std::min(HEIGHT, frames.height - top); row++)
            for (int i = 0; i < columns; i++) {
                const int64_t query = int64_t(top + row) * frames.width + left + i;
                const float now = most[row][i];
                const int place = (row * WIDTH + i) * rows;
                float *own = done.data() + place * told, whole = 0;
                for (int r = 0; r < rows; r++) {
                    const float factor = std::exp(own[r * told] - now);
                    for (int k = 1; k < told; k++) own[r * told + k] *= factor;
                    whole += own[r * told + 1];
                }
                float *out = total + query * channels;
                std::fill_n(out, channels, 0.f);
                for (int r = 0; r < rows; r++) {
                    const float *part = own + r * told + 1;
                    if (!best || !may_be(row, i, r, {query, now, whole, part}))
                        for (int k = 0; k < channels; k++) out[k] += part[1 + k] / whole;
                }
            }
        for (const Row &row : confident) replace(row);
    }

    // Whether a row may be confident; then its best keys are among those found, and on their way
    // from memory.
    bool may_be(int row, int i, int reference, Row sure) {
        const __m512 *own = &largest[((row * WIDTH + i) * rows + reference) * best];
        const float peak = _mm512_reduce_max_ps(own[0]);
        if (std::exp(peak + slack(peak) - sure.most) / sure.whole <= prior.threshold) return false;
        // Of as many lanes as there are best keys the largest is as good as the last of them.
        const float *from = reinterpret_cast<const float *>(own);
        float kept[BEST];
        std::partial_sort_copy(from, from + best * VECTOR, kept, kept + best, std::greater<>());
        const float least = kept[best - 1] - slack(kept[best - 1]);
        const int radius = frames.radii[reference], vectors = across(radius);
        sure.first = found.size();
        for (int n = 0; n < best * VECTOR; n++) {
            if (from[n] < least || from[n] < NOTHING / 2) continue;
            int32_t number;
            std::memcpy(&number, from + n, sizeof number);
            number &= (1 << bits) - 1;
            const int first = number % vectors, y = line(top, number / vectors);
            for (int v = first; v < first + together(vectors - first); v++) {
                const int x = left - radius + v * VECTOR + n % VECTOR;
                if (x < 0 || x >= frames.width || std::abs(x - left - i) > radius) continue;
                const int64_t cell =
                    (int64_t(reference) * frames.height + y) * frames.width + x;
                found.push_back(cell);
                for (int lane = 0; lane < frames.lanes; lane += VECTOR)
                    _mm_prefetch(frames.keys + cell * frames.lanes + lane, _MM_HINT_T0);
            }
        }
        sure.last = found.size();
        confident.push_back(sure);
        return true;
    }

    // What the number in its last bits may have changed of a score, twice over.
    float slack(float score) const { return std::abs(score) * std::ldexp(1.f, bits - 22); }

    // Adds what the Gaussians of a row read; or what was read before, if it is not confident.
    void replace(const Row &row) const {
        float shares[BEST];
        int64_t cells[BEST];
        std::fill_n(shares, best, -infinity);
        std::fill_n(cells, best, int64_t(0));
        const uint32_t *query = frames.queries + row.query * frames.lanes;
        for (size_t n = row.first; n < row.last; n++) {
            const uint32_t *key = frames.keys + found[n] * frames.lanes;
            const float score = scale * product<Kind>(query, key, frames.lanes);
            if (score > shares[best - 1]) insert(shares, cells, best, score, found[n]);
        }
        for (int j = 0; j < best; j++) shares[j] = std::exp(shares[j] - row.most) / row.whole;
        float *out = total + row.query * channels;
        if (shares[0] > prior.threshold)
            prior.read(shares, cells, best, row.part[0] / row.whole, out);
        else
            for (int k = 0; k < channels; k++) out[k] += row.part[1 + k] / row.whole;
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

// Sums over the best keys of one query, best first. Rows are told apart by their reference.
void condense(const float *shares, const int64_t *cells, int topk, const Prior &prior,
              float *out) {
    const int64_t area = int64_t(prior.height) * prior.width;
    std::fill_n(out, prior.channels, 0.f);
    float row_shares[BEST];
    int64_t row_cells[BEST], owners[BEST];
    for (int j = 0; j < topk; j++)  // shorter numbers are divided faster
        owners[j] = (cells[j] | area) >> 32 ? cells[j] / area : uint32_t(cells[j]) / uint32_t(area);
    for (int first = 0; first < topk; first++) {
        if (owners[first] < 0) continue;  // was in an earlier row
        const int64_t owner = owners[first];
        const bool sure = shares[first] > prior.threshold;
        int best = 0;
        float mass = 0;
        for (int j = first; j < topk; j++) {
            if (owners[j] != owner) continue;
            owners[j] = -1;
            mass += shares[j];
            if (!sure) {
                const float *from = prior.values + cells[j] * prior.channels;
                for (int k = 0; k < prior.channels; k++) out[k] += shares[j] * from[k];
            } else if (best < prior.count) {
                row_shares[best] = shares[j], row_cells[best++] = cells[j];
            }
        }
        if (sure) prior.read(row_shares, row_cells, best, mass, out);
    }
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

// `shares` and `cells` are (queries, topk), `values` as above.
void liir_condense(const float *shares, const int64_t *cells, int queries, int topk,
                   int references, int height, int width, int threads, const float *values,
                   int channels, int gaussians, float threshold, int published,
                   const float *bell, int reach, float *total) {
    Prior prior{gaussians,  threshold, bool(published), bell,    reach, values,
                references, height,    width,           channels};
    prior.blur(threads);
    const int part = 1 << 10;
    share((queries + part - 1) / part, threads, [&](int number) {
        for (int64_t i = int64_t(number) * part; i < std::min(queries, (number + 1) * part); i++)
            condense(shares + i * topk, cells + i * topk, topk, prior, total + i * channels);
    });
}
}
