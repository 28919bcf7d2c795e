// What the compiled loops share: keys in memory, their products with queries, threads.
//
// A lane is 32 bits: one float channel, or two bfloat16 channels side by side. Keys are laid out
// lane by lane along x, so that one vector holds the same lane of 16 neighbouring keys. A tile of
// queries meets every row of keys in its reach.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

constexpr int WIDTH = 8;    // queries of a tile along x
constexpr int HEIGHT = 4;   // and along y: a row of keys in the nearest cache meets all of them
constexpr int VECTOR = 16;  // keys in a vector
constexpr int MOST = 3;     // vectors multiplied together: 8 x 3 sums fit the registers
constexpr float infinity = std::numeric_limits<float>::infinity();

// Lanes that a row of packed keys takes: an odd number of vectors, or the lanes of a key, one below
// the other, would meet in the same few places of the cache.
inline int row_lanes(int width, int margin) {
    const int least = (width + WIDTH - 1) / WIDTH * WIDTH + 2 * margin + VECTOR;
    return ((least + VECTOR - 1) / VECTOR | 1) * VECTOR;
}

struct Frames {
    const uint32_t *queries;  // (height, width, lanes)
    const uint32_t *keys;     // (references, height, width, lanes)
    uint32_t *packed;         // (references, height, lanes, wide); key x lies at margin + x
    const int *radii;         // (references,)
    int references, height, width, lanes, margin, wide;
};

inline Frames frames_of(const void *queries, const void *keys, void *packed, const int *radii,
                        int references, int height, int width, int lanes) {
    const int margin = *std::max_element(radii, radii + references);
    return {static_cast<const uint32_t *>(queries),
            static_cast<const uint32_t *>(keys),
            static_cast<uint32_t *>(packed),
            radii,
            references,
            height,
            width,
            lanes,
            margin,
            row_lanes(width, margin)};
}

struct Float {
    static __m512 product(__m512 sum, __m512i a, __m512i b) {
        return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
    }
};

#ifdef __AVX512BF16__
struct Bfloat16 {
    static __m512 product(__m512 sum, __m512i a, __m512i b) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
};
#endif

// Runs task(0) ... task(count - 1); whichever thread is free takes the next few. The threads are
// those of PyTorch, which loads OpenMP first: others would wait for them, as they spin a while for
// work.
template <class Task> void share(int count, int threads, const Task &task) {
    const int few = std::max(1, count / (16 * threads));
#pragma omp parallel for schedule(dynamic, few) num_threads(std::min(count, threads))
    for (int i = 0; i < count; i++) task(i);
}

// The same, to each thread neighbouring ones, as many as to any other: what it makes of a part of
// the frame in one call is still in its core's cache when it reads that part in the next.
template <class Task> void split(int count, int threads, const Task &task) {
#pragma omp parallel for schedule(static) num_threads(std::min(count, threads))
    for (int i = 0; i < count; i++) task(i);
}

// Lays out a row of `width` cells, `lanes` of each, lane by lane.
inline void pack(const uint32_t *from, uint32_t *to, int width, int lanes, int wide) {
    for (int start = 0; start < width; start += VECTOR) {
        int stop = std::min(start + VECTOR, width);
        for (int lane = 0; lane < lanes; lane++)
            for (int x = start; x < stop; x++)
                to[int64_t(lane) * wide + x] = from[int64_t(x) * lanes + lane];
    }
}

// Puts a score and its cell where they belong among the best ones.
inline void insert(float *scores, int64_t *cells, int count, float score, int64_t cell) {
    int place = count - 1;
    for (; place > 0 && scores[place - 1] < score; place--) {
        scores[place] = scores[place - 1];
        cells[place] = cells[place - 1];
    }
    scores[place] = score;
    cells[place] = cell;
}

// Which keys of each vector are in the window of each query of a tile, and in the frame.
inline void look(const Frames &frames, int left, int radius, __mmask16 (*inside)[WIDTH]) {
    for (int v = 0; v * VECTOR < WIDTH + 2 * radius; v++)
        for (int i = 0; i < WIDTH; i++) {
            inside[v][i] = 0;
            for (int lane = 0; lane < VECTOR; lane++) {
                int place = v * VECTOR + lane, x = left - radius + place;
                bool near = place >= i && place <= i + 2 * radius;
                if (near && x >= 0 && x < frames.width) inside[v][i] |= 1 << lane;
            }
        }
}

// Rows of keys, from the middle of the tile's reach outwards.
inline int line(int top, int step) {
    const int away = (step + 1) / 2, middle = top + HEIGHT / 2;
    return step % 2 ? middle - away : middle + away;
}

// Some neighbouring keys, as many as lie in a few vectors.
struct Place {
    int reference, y, x;
    int number;                        // of the first vector among those of this reference
    const __mmask16 (*inside)[WIDTH];  // of each vector and query
};

// Vectors of a row of keys that a tile meets, and how many of those left are multiplied together.
inline int across(int radius) { return (WIDTH + 2 * radius + VECTOR - 1) / VECTOR; }
inline int together(int left) { return left == 4 ? 2 : std::min(left, MOST); }

// A row of queries with `count` vectors of a row of keys; `task` takes their products.
template <class Kind, int count, class Task>
void meet(const Frames &frames, const uint32_t *const *queries, const Place &place, int row,
          Task &task) {
    const int64_t line = int64_t(place.reference) * frames.height + place.y;
    const uint32_t *keys = frames.packed + line * frames.lanes * frames.wide;
    keys += frames.margin + place.x;
    __m512 sums[count][WIDTH];  // in registers, as long as every index is known
#pragma GCC unroll 8
    for (int i = 0; i < WIDTH; i++)
#pragma GCC unroll 3
        for (int v = 0; v < count; v++) sums[v][i] = _mm512_setzero_ps();
    for (int lane = 0; lane < frames.lanes; lane++) {
        __m512i part[count];
#pragma GCC unroll 3
        for (int v = 0; v < count; v++)
            part[v] = _mm512_loadu_si512(keys + int64_t(lane) * frames.wide + v * VECTOR);
#pragma GCC unroll 8
        for (int i = 0; i < WIDTH; i++)
#pragma GCC unroll 3
            for (int v = 0; v < count; v++)
                sums[v][i] = Kind::product(
                    sums[v][i], _mm512_set1_epi32(int(queries[i][lane])), part[v]);
    }
    task.template take<count>(row, place, sums);
}

// Shows `task` the tiles of a few rows of queries, each with all keys of its windows.
template <class Kind, class Task> void band(const Frames &frames, int top, Task &task) {
    const int bottom = std::min(top + HEIGHT, frames.height);
    std::vector<__mmask16> masks((WIDTH + 2 * frames.margin + VECTOR) / VECTOR * WIDTH);
    auto *inside = reinterpret_cast<__mmask16(*)[WIDTH]>(masks.data());
    for (int left = 0; left < frames.width; left += WIDTH) {
        const int columns = std::min(WIDTH, frames.width - left);
        const uint32_t *queries[HEIGHT][WIDTH];  // beyond the frame: the last one again
        for (int y = top; y < bottom; y++)
            for (int i = 0; i < WIDTH; i++)
                queries[y - top][i] =
                    frames.queries +
                    (int64_t(y) * frames.width + left + std::min(i, columns - 1)) * frames.lanes;
        task.begin(left, columns);
        // The best keys mostly lie near, in the latest reference: those come first.
        for (int r = frames.references - 1, seen = -1; r >= 0; r--) {
            const int radius = frames.radii[r];
            const int vectors = across(radius);
            if (radius != seen) look(frames, left, seen = radius, inside);
            for (int step = 0; step < HEIGHT + 2 * radius; step++) {
                const int y = line(top, step);
                if (y < 0 || y >= frames.height) continue;
                const int from = std::max(top, y - radius);
                const int to = std::min(bottom, y + radius + 1);
                for (int v = 0; v < vectors;) {
                    const int more = together(vectors - v);
                    const Place place{r, y, left - radius + v * VECTOR, step * vectors + v,
                                      inside + v};
                    for (int row = from - top; row < to - top; row++) {
                        if (more == 3) meet<Kind, 3>(frames, queries[row], place, row, task);
                        if (more == 2) meet<Kind, 2>(frames, queries[row], place, row, task);
                        if (more == 1) meet<Kind, 1>(frames, queries[row], place, row, task);
                    }
                    v += more;
                }
            }
            task.end(r);
        }
        task.finish();
    }
}

// Packs the keys, then calls task(top) for every few rows of queries.
template <class Task> void run(const Frames &frames, int threads, const Task &task) {
    share(frames.references * frames.height, threads, [&](int row) {
        const int64_t from = int64_t(row) * frames.width * frames.lanes;
        const int64_t to = int64_t(row) * frames.lanes * frames.wide + frames.margin;
        pack(frames.keys + from, frames.packed + to, frames.width, frames.lanes, frames.wide);
    });
    share((frames.height + HEIGHT - 1) / HEIGHT, threads,
          [&](int part) { task(part * HEIGHT); });
}
