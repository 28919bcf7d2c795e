// Powers of many numbers at once.

#pragma once

#include <immintrin.h>

constexpr float LOG2_E = 1.44269504f;  // e^x is 2^(x LOG2_E)

// 2^x, to 3e-7 of it: 2^n times a polynomial of what is left, at most a half, whose largest error
// is the least that this degree can have. What is too small becomes zero.
inline __m512 power(__m512 x) {
    const __m512 n = _mm512_roundscale_ps(x, 0);
    x = _mm512_sub_ps(x, n);
    __m512 sum = _mm512_set1_ps(0.00132764922f);
    for (float factor : {0.00967554934f, 0.0555071346f, 0.240221202f, 0.693146944f, 1.00000012f})
        sum = _mm512_fmadd_ps(sum, x, _mm512_set1_ps(factor));
    return _mm512_scalef_ps(sum, n);
}
