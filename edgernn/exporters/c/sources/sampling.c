#include <float.h>

#include "NAME.h"

/* The same bits everywhere: every operation on its own, in double precision. */
#if defined(__FAST_MATH__)
#error "-ffast-math changes results: compile without it"
#endif
#if FLT_EVAL_METHOD < 0 || FLT_EVAL_METHOD == 2
#error "this processor computes in another precision: compile with -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

typedef union {
    uint64_t bits;
    double value;
} NAME_double;

static double from_bits(uint64_t bits)
{
    NAME_double number;
    number.bits = bits;
    return number.value;
}

static uint64_t bits_of(double value)
{
    NAME_double number;
    number.value = value;
    return number.bits;
}

static double minus_infinity(void)
{
    return from_bits(0xFFF0000000000000);
}

static int is_finite(double value)
{
    return value - value == 0.0;
}

/* The bits of 2^(-j/64). */
static const uint64_t powers[64] = {
    0x3FF0000000000000, 0x3FEFA7C1819E90D8, 0x3FEF50765B6E4540, 0x3FEEFA1BEE615A27, 0x3FEEA4AFA2A490DA,
    0x3FEE502EE78B3FF6, 0x3FEDFC97337B9B5F, 0x3FEDA9E603DB3285, 0x3FED5818DCFBA487, 0x3FED072D4A07897C,
    0x3FECB720DCEF9069, 0x3FEC67F12E57D14B, 0x3FEC199BDD85529C, 0x3FEBCC1E904BC1D2, 0x3FEB7F76F2FB5E47,
    0x3FEB33A2B84F15FB, 0x3FEAE89F995AD3AD, 0x3FEA9E6B5579FDBF, 0x3FEA5503B23E255D, 0x3FEA0C667B5DE565,
    0x3FE9C49182A3F090, 0x3FE97D829FDE4E50, 0x3FE93737B0CDC5E5, 0x3FE8F1AE99157736, 0x3FE8ACE5422AA0DB,
    0x3FE868D99B4492ED, 0x3FE82589994CCE13, 0x3FE7E2F336CF4E62, 0x3FE7A11473EB0187, 0x3FE75FEB564267C9,
    0x3FE71F75E8EC5F74, 0x3FE6DFB23C651A2F, 0x3FE6A09E667F3BCD, 0x3FE6623882552225, 0x3FE6247EB03A5585,
    0x3FE5E76F15AD2148, 0x3FE5AB07DD485429, 0x3FE56F4736B527DA, 0x3FE5342B569D4F82, 0x3FE4F9B2769D2CA7,
    0x3FE4BFDAD5362A27, 0x3FE486A2B5C13CD0, 0x3FE44E086061892D, 0x3FE4160A21F72E2A, 0x3FE3DEA64C123422,
    0x3FE3A7DB34E59FF7, 0x3FE371A7373AA9CB, 0x3FE33C08B26416FF, 0x3FE306FE0A31B715, 0x3FE2D285A6E4030B,
    0x3FE29E9DF51FDEE1, 0x3FE26B4565E27CDD, 0x3FE2387A6E756238, 0x3FE2063B88628CD6, 0x3FE1D4873168B9AA,
    0x3FE1A35BEB6FCB75, 0x3FE172B83C7D517B, 0x3FE1429AAEA92DE0, 0x3FE11301D0125B51, 0x3FE0E3EC32D3D1A2,
    0x3FE0B5586CF9890F, 0x3FE0874518759BC8, 0x3FE059B0D3158574, 0x3FE02C9A3E778061
};

#define NAME_TOGETHER 8 /* numbers that are computed with at once: a compiler can use vectors */
#define NAME_RANGES 64  /* in which logits are counted */

/* Replace numbers of at most 0 by their exponentials, as the contract defines them. */
static void exponentials(double *x, int32_t count)
{
    const double whole = 6755399441055744.0; /* 1.5 * 2^52: numbers near it are whole */
    double t[NAME_TOGETHER], shifted[NAME_TOGETHER], p[NAME_TOGETHER];
    int32_t i, size;
    for (; count > 0; count -= size, x += size) {
        size = count < NAME_TOGETHER ? count : NAME_TOGETHER;
        for (i = 0; i < size; i++) {
            double n, r;
            t[i] = -x[i] * 92.33248261689366;
            shifted[i] = t[i] + whole;
            n = shifted[i] - whole;
            r = (x[i] + n * 0.010830424696223417) + n * 2.572804622327669e-14;
            p[i] = r * 0.008333333333333333;
            p[i] = r * (p[i] + 0.041666703066666665);
            p[i] = r * (p[i] + 0.16666666666666666);
            p[i] = r * (p[i] + 0.5);
            p[i] = r * (p[i] + 1.0);
        }
        for (i = 0; i < size; i++) {
            const uint64_t n = bits_of(shifted[i]) & 0xFFFF; /* at most 61440 */
            const double power = from_bits(powers[n % 64] - (n / 64 << 52));
            x[i] = t[i] > 61440.5 ? 0.0 : power + power * p[i];
        }
    }
}

/* SplitMix64: the next number in [0, 1). */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return (double)((z ^ (z >> 31)) >> 11) * (1.0 / 9007199254740992.0);
}

/* A heap has its least number at 0, and no number below that at half its place. */

/* Let the number at a place sink to where it belongs, in a heap but for that number. */
static void sink(double *heap, int32_t size, int32_t place)
{
    const double value = heap[place];
    int32_t child;
    for (child = 2 * place + 1; child < size; child = 2 * place + 1) {
        if (child + 1 < size)
            child += heap[child + 1] < heap[child];
        if (value <= heap[child])
            break;
        heap[place] = heap[child];
        place = child;
    }
    heap[place] = value;
}

static void make_heap(double *heap, int32_t size)
{
    int32_t place;
    for (place = size / 2; place-- > 0;)
        sink(heap, size, place);
}

/* Move the least of a heap to its end, and return it. The heap is then one smaller. */
static double pop(double *heap, int32_t size)
{
    const double least = heap[0];
    heap[0] = heap[size - 1];
    heap[size - 1] = least;
    sink(heap, size - 1, 0);
    return least;
}

/* The k-th largest of the values: the least in a heap of the k largest. The heap may lie where the values do. */
static double least_in_heap(const double *values, int32_t count, int32_t k, double *heap)
{
    int32_t i;
    for (i = 0; i < k; i++)
        heap[i] = values[i];
    make_heap(heap, k);
    for (; i < count; i++)
        if (values[i] > heap[0]) {
            heap[0] = values[i];
            sink(heap, k, 0);
        }
    return heap[0];
}

/* The k-th largest of the values, which lie from `lowest` to `highest` but for minus infinity. They are counted in ranges,
   so that the heap is one of the values in a single range: for many values it mispredicts most branches. places: room. */
static double kth_largest(const double *values, int32_t count, int32_t k, double lowest, double highest, double *heap,
                          int32_t *places)
{
    const double scale = (NAME_RANGES - 1) / (highest - lowest);
    int32_t counts[NAME_RANGES] = {0};
    int32_t i, place = 0, kept = 0;
    for (i = 0; i < count; i++) {
        const double depth = (highest - values[i]) * scale;
        places[i] = depth < NAME_RANGES - 1 ? (int32_t)depth : NAME_RANGES - 1;
        counts[places[i]]++;
    }
    for (; counts[place] < k; place++)
        k -= counts[place];
    for (i = 0; i < count; i++) {
        heap[kept] = values[i];
        kept += places[i] == place;
    }
    return least_in_heap(heap, kept, k, heap);
}

static double sum_of(const double *values, int32_t count)
{
    double sum = 0.0;
    int32_t i;
    for (i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

/* Make a heap of the weights from `least` on, negated so that the largest comes first. Return its size. */
static int32_t make_falling_heap(const double *weights, int32_t count, double least, double *heap)
{
    int32_t i, size = 0;
    for (i = 0; i < count; i++) {
        heap[size] = -weights[i];
        size += weights[i] >= least;
    }
    make_heap(heap, size);
    return size;
}

/* The first of the weights, in descending order, at which the running sum reaches a share of the total. */
static double least_of_share(const double *weights, int32_t count, double share, double *heap)
{
    double total = 0.0, sum = 0.0;
    int32_t left, first = make_falling_heap(weights, count, 0.0, heap);
    for (left = count; left > 0; left--)
        total -= pop(heap, left);
    do
        sum -= heap[--first];
    while (sum < share * total);
    return -heap[first];
}

/* Step 6. The total is the sum in descending order, for which all weights would have to be sorted. In any other order it
   is the same up to rounding, which hardly ever decides: then only the largest weights are sorted, as far as needed. */
static double least_of_top_p(const double *weights, int32_t count, double top_p, double *heap)
{
    const double total = sum_of(weights, count);
    const double rounding = total * (count + 4) * (1.0 / 2251799813685248.0); /* 2^-51: at least twice what it can be */
    const double negligible = 0.5 * (1.0 - top_p) * total / count;
    double sum = 0.0, weight = 0.0;
    int32_t left = make_falling_heap(weights, count, negligible, heap);
    while (left > 0 && sum < top_p * total - rounding) {
        weight = -pop(heap, left--);
        sum += weight;
    }
    return sum > top_p * total + rounding ? weight : least_of_share(weights, count, top_p, heap);
}

static void drop_below(double least, double *weights, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++)
        weights[i] = weights[i] < least ? 0.0 : weights[i];
}

/* Step 1. The penalty is that of the network's logit, so that a token which occurs twice is penalised once. */
static void penalise(const NAME_sampler *sampler, const NAME_text *text, const float *logits, double *weights)
{
    const double penalty = sampler->repetition_penalty;
    const int32_t window = sampler->repetition_window;
    const int32_t count = window < text->recents ? window : text->recents;
    int32_t i, place = text->next;
    for (i = 0; i < count; i++) {
        int32_t token;
        place = place > 0 ? place - 1 : NAME_HISTORY - 1;
        token = text->recent[place];
        weights[token] = logits[token] > 0.0f ? logits[token] / penalty : logits[token] * penalty;
    }
}

static void forbid(int32_t token, double *weights)
{
    if (token >= 0)
        weights[token] = minus_infinity();
}

/* Steps 1 and 2. */
static void adjust(const NAME_sampler *sampler, NAME_text *text, const float *logits)
{
    int32_t i;
    for (i = 0; i < NAME_VOCABULARY; i++)
        text->weights[i] = logits[i];
    if (sampler->repetition_penalty != 1.0)
        penalise(sampler, text, logits, text->weights);
    for (i = 0; i < sampler->biases; i++)
        text->weights[sampler->bias_tokens[i]] += sampler->bias_values[i];
    forbid(NAME_UNKNOWN, text->weights);
    forbid(NAME_START, text->weights);
}

/* Find the highest logit, and the lowest but for minus infinity. Return 0 if the highest is infinite or a logit is NaN. */
static int find_limits(const double *logits, double *lowest, double *highest)
{
    double low[NAME_TOGETHER], high[NAME_TOGETHER];
    int32_t i, j, others = 0;
    for (j = 0; j < NAME_TOGETHER; j++) {
        low[j] = -minus_infinity();
        high[j] = minus_infinity();
    }
    for (i = 0; i < NAME_VOCABULARY; i += j)
        for (j = 0; j < NAME_TOGETHER && j < NAME_VOCABULARY - i; j++) {
            const double finite = logits[i + j] > minus_infinity() ? logits[i + j] : low[j];
            low[j] = finite < low[j] ? finite : low[j];
            high[j] = logits[i + j] > high[j] ? logits[i + j] : high[j];
        }
    for (i = 0; i < NAME_VOCABULARY; i++)
        others += logits[i] != logits[i];
    *lowest = low[0];
    *highest = high[0];
    for (j = 1; j < NAME_TOGETHER; j++) {
        *lowest = low[j] < *lowest ? low[j] : *lowest;
        *highest = high[j] > *highest ? high[j] : *highest;
    }
    return others == 0 && is_finite(*highest);
}

/* Step 4: move the logits that top-k keeps, and their tokens, to the front. Return their number. */
static int32_t keep_top_k(NAME_text *text, int32_t k, double lowest, double highest)
{
    double *const weights = text->weights;
    double least = minus_infinity();
    int32_t i, count = 0;
    if (k > 0 && k < NAME_VOCABULARY)
        least = kth_largest(weights, NAME_VOCABULARY, k, lowest, highest, text->heap, text->kept);
    for (i = 0; i < NAME_VOCABULARY; i++) {
        text->kept[count] = i;
        weights[count] = weights[i];
        count += weights[i] >= least;
    }
    return count;
}

/* Step 8: the place of the first running sum above u times the last one. */
static int32_t choose(double *weights, int32_t count, double u)
{
    double at, sum = 0.0;
    int32_t i, low = 0, high = count - 1;
    for (i = 0; i < count; i++)
        weights[i] = sum += weights[i];
    at = u * sum;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2, above = weights[middle] > at;
        high = above ? middle : high;
        low = above ? low : middle + 1;
    }
    return low;
}

int32_t NAME_draw(const NAME_sampler *sampler, NAME_text *text, const float *logits)
{
    double *const weights = text->weights;
    double lowest, highest;
    int32_t i, count, token = 0;
    if (!NAME_possible(sampler))
        return -1;
    adjust(sampler, text, logits);
    if (!find_limits(weights, &lowest, &highest))
        return -1;
    if (sampler->temperature == 0.0) { /* step 3 */
        while (weights[token] != highest)
            token++;
        return token;
    }
    count = keep_top_k(text, sampler->top_k, lowest, highest);
    for (i = 0; i < count; i++) /* step 5 */
        weights[i] = (weights[i] - highest) / sampler->temperature;
    exponentials(weights, count);
    if (sampler->top_p < 1.0)
        drop_below(least_of_top_p(weights, count, sampler->top_p, text->heap), weights, count);
    if (sampler->min_p > 0.0) /* step 7 */
        drop_below(sampler->min_p, weights, count);
    return text->kept[choose(weights, count, uniform(&text->generator))];
}

static int biases_are_possible(const NAME_sampler *sampler)
{
    int32_t i;
    for (i = 0; i < sampler->biases; i++) {
        const int32_t token = sampler->bias_tokens[i];
        const double value = sampler->bias_values[i];
        if (token < 0 || token >= NAME_VOCABULARY)
            return 0;
        if (!(value <= 1e6 && value >= -1e6) && value != minus_infinity())
            return 0;
    }
    return 1;
}

int NAME_possible(const NAME_sampler *sampler)
{
    const double temperature = sampler->temperature, penalty = sampler->repetition_penalty;
    return (temperature == 0.0 || (temperature >= 0.001 && is_finite(temperature)))
        && sampler->top_p > 0.0 && sampler->top_p <= 1.0
        && sampler->min_p >= 0.0 && sampler->min_p <= 1.0
        && penalty > 0.0 && is_finite(penalty)
        && sampler->top_k >= 0 && sampler->repetition_window >= 0
        && (penalty == 1.0 || sampler->repetition_window <= NAME_HISTORY)
        && biases_are_possible(sampler);
}

NAME_sampler NAME_plain_sampler(void)
{
    const NAME_sampler plain = {1.0, 1.0, 0.0, 1.0, 0, NAME_HISTORY, 0, 0, 0};
    return plain;
}

void NAME_begin(NAME_text *text, uint64_t seed)
{
    text->generator = seed;
    text->recents = text->next = text->ready = 0;
}

void NAME_remember(NAME_text *text, int32_t token)
{
    text->recent[text->next] = token;
    text->next = text->next + 1 < NAME_HISTORY ? text->next + 1 : 0;
    if (text->recents < NAME_HISTORY)
        text->recents++;
}
