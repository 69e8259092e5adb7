# What Cython puts before kernels that read digits: an instruction that gcc does not find for sums that lie side by side.
# It adds four products of a byte and an int8 to 32 bits, 16 times at once.
cdef extern from *:
    """
    #if defined(__AVX512F__) && defined(__AVX512VNNI__)
    #include <immintrin.h>
    #include <string.h>
    #define QUARANTION_VNNI 1
    #define FOUR(p, i, n) _mm512_dpbusd_epi32(n, p, quad(i))

    static inline __m512i quad(const signed char *q) {
        int four;
        memcpy(&four, q, 4);
        return _mm512_set1_epi32(four);
    }

    /* 32 vectors of m times 8 digits: q goes with 4 lower halves of bytes, then with the upper ones, times 16 in t and u */
    static inline void vnni_digits(const unsigned short *p, const short *form, Py_ssize_t m, int less, int *out) {
        const signed char *q = (const signed char *)form;
        const __m512i low = _mm512_set1_epi8(15), high = _mm512_set1_epi8((char)240);
        __m512i r = _mm512_set1_epi32(-less), s = r, t = _mm512_setzero_si512(), u = t;
        for (; m > 0; m--, p += 64, q += 8) {
            const __m512i x = _mm512_loadu_si512(p), y = _mm512_loadu_si512(p+32);
            r = FOUR(_mm512_and_si512(x, low), q, r);
            s = FOUR(_mm512_and_si512(y, low), q, s);
            t = FOUR(_mm512_and_si512(x, high), q+4, t);
            u = FOUR(_mm512_and_si512(y, high), q+4, u);
        }
        _mm512_storeu_si512(out, _mm512_add_epi32(r, _mm512_srai_epi32(t, 4)));
        _mm512_storeu_si512(out+16, _mm512_add_epi32(s, _mm512_srai_epi32(u, 4)));
    }

    /* 32 vectors of m times 4 bytes */
    static inline void vnni_bytes(const unsigned short *p, const short *form, Py_ssize_t m, int less, int *out) {
        const signed char *q = (const signed char *)form;
        __m512i r = _mm512_set1_epi32(-less), s = r;
        for (; m > 0; m--, p += 64, q += 4) {
            r = FOUR(_mm512_loadu_si512(p), q, r);
            s = FOUR(_mm512_loadu_si512(p+32), q, s);
        }
        _mm512_storeu_si512(out, r);
        _mm512_storeu_si512(out+16, s);
    }
    #else
    #define QUARANTION_VNNI 0 /* loops of parts/dots do it */
    #define vnni_digits(p, form, m, less, out)
    #define vnni_bytes(p, form, m, less, out)
    #endif
    """
    const bint HAS_VNNI "QUARANTION_VNNI"
    void vnni_digits(const unsigned short *p, const short *form, Py_ssize_t m, int less, int *out) noexcept nogil
    void vnni_bytes(const unsigned short *p, const short *form, Py_ssize_t m, int less, int *out) noexcept nogil
