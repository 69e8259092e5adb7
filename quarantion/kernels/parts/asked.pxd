# What Cython puts before kernels that read rows of digits: sixteen rows at once, whose sums end side by side.
cdef extern from *:
    """
    #if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)
    #include <immintrin.h>
    #define QUARANTION_ROWS 1

    /* What lies in pairs of places to one sum each, of a and of b in turn */
    static inline __m512i turns_32(__m512i a, __m512i b) {
        return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }

    static inline __m512i turns_64(__m512i a, __m512i b) {
        return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }

    static inline __m512i turns_128(__m512i a, __m512i b) {
        return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD));
    }

    /* n rows, 1 to 16, of 64*k bytes: q goes with the lower halves of bytes, r with the upper ones */
    static inline void vnni_rows(const unsigned char *p, Py_ssize_t m, Py_ssize_t n, const short *one, const short *two,
                                 Py_ssize_t o, int *out) {
        const char *q = (const char *)one+o, *r = (const char *)two+o;
        const __m512i low = _mm512_set1_epi8(15);
        __m512i s[16];
        Py_ssize_t j;
        int i;
        #pragma GCC unroll 16
        for (i = 0; i < 16; i++) s[i] = _mm512_setzero_si512();
        for (j = 0; j < m; j += 64) {
            const __m512i a = _mm512_loadu_si512(q+j), b = _mm512_loadu_si512(r+j);
            #pragma GCC unroll 16
            for (i = 0; i < 16; i++) {
                const __m512i x = _mm512_loadu_si512(p+(i < n ? i : n-1)*m+j);
                s[i] = _mm512_dpbusd_epi32(s[i], _mm512_and_si512(x, low), a);
                s[i] = _mm512_dpbusd_epi32(s[i], _mm512_and_si512(_mm512_srli_epi16(x, 4), low), b);
            }
        }
        #pragma GCC unroll 8
        for (i = 0; i < 8; i++) s[i] = turns_32(s[2*i], s[2*i+1]);
        #pragma GCC unroll 4
        for (i = 0; i < 4; i++) s[i] = turns_64(s[2*i], s[2*i+1]);
        _mm512_storeu_si512(out, turns_128(turns_128(s[0], s[1]), turns_128(s[2], s[3])));
    }

    /* One row */
    static inline int vnni_row(const unsigned char *p, Py_ssize_t m, const short *one, const short *two, Py_ssize_t o) {
        const char *q = (const char *)one+o, *r = (const char *)two+o;
        const __m512i low = _mm512_set1_epi8(15);
        __m512i s = _mm512_setzero_si512(), u = s;
        Py_ssize_t j;
        for (j = 0; j < m; j += 64) {
            const __m512i x = _mm512_loadu_si512(p+j);
            s = _mm512_dpbusd_epi32(s, _mm512_and_si512(x, low), _mm512_loadu_si512(q+j));
            u = _mm512_dpbusd_epi32(u, _mm512_and_si512(_mm512_srli_epi16(x, 4), low), _mm512_loadu_si512(r+j));
        }
        return _mm512_reduce_add_epi32(_mm512_add_epi32(s, u));
    }
    #else
    #define QUARANTION_ROWS 0 /* loops of parts/asked do it */
    #define vnni_rows(p, m, n, one, two, o, out)
    #define vnni_row(p, m, one, two, o) 0
    #endif
    """
    const bint HAS_ROWS "QUARANTION_ROWS"
    void vnni_rows(const unsigned char *p, Py_ssize_t m, Py_ssize_t n, const short *one, const short *two, Py_ssize_t o, int *out) noexcept nogil
    int vnni_row(const unsigned char *p, Py_ssize_t m, const short *one, const short *two, Py_ssize_t o) noexcept nogil
