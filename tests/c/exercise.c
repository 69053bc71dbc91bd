/* Calls every kernel at one level, with many sizes, bytes of any value, and buffers of exactly the size that kernels
   may touch. Returns a hash of all results. */
#include <stdlib.h>

/* Adds bytes to a hash by FNV-1a (Fowler, Noll and Vo 1991). */
static uint64_t hashed(uint64_t hash, const void *data, size_t size)
{
    size_t i;
    for (i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * 1099511628211u;
    return hash;
}

static uint32_t drawn(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Returns new bytes, one in four of them the smallest or the largest. */
static void *new_bytes(size_t count, int smallest, uint32_t *seed)
{
    size_t i;
    signed char *const made = malloc(count);
    for (i = 0; i < count; i++) {
        const int value = (int)(drawn(seed) & 255) - 128, kind = (int)(drawn(seed) & 7);
        made[i] = (signed char)(kind == 0 || value < smallest ? smallest : kind == 1 ? 127 : value);
    }
    return made;
}

static float *new_floats(size_t count, uint32_t *seed)
{
    size_t i;
    float *const made = malloc(count * sizeof *made);
    for (i = 0; i < count; i++)
        made[i] = ((float)drawn(seed) - 8388608.0f) / 1048576.0f;
    return made;
}

/* Returns 128 times the sum of the weights of each output. */
static int32_t *new_offsets(const int8_t *w, size_t inputs, size_t outputs)
{
    size_t i, at;
    int32_t *const made = calloc(outputs, sizeof *made);
    for (at = 0; at < outputs; at += 64) {
        const size_t column = outputs - at < 64 ? outputs - at : 64;
        for (i = 0; i < inputs * column; i++)
            made[at + i / 4 % column] += 128 * w[at * inputs + i];
    }
    return made;
}

static uint64_t exercised(uint64_t hash, int level, int inputs, int outputs, uint32_t *seed)
{
    const size_t panels = (size_t)(outputs + 31) / 32 * 32, tiles = (size_t)(outputs + 15) / 16 * 16;
    const size_t groups = (size_t)(inputs + 3) / 4 * 4, blocks = (size_t)(inputs + 31) / 32;
    const size_t count = (size_t)inputs, made = (size_t)outputs;
    float *const x = new_floats(32 * blocks, seed), *const w = new_floats(count * panels, seed);
    float *const panel_bias = new_floats(panels, seed), *const bias = new_floats(tiles, seed);
    float *const scale = new_floats(tiles, seed), *const factors = new_floats(blocks * panels, seed);
    uint8_t *const u8 = new_bytes(groups, -128, seed), *const u4 = new_bytes(16 * blocks * panels, -128, seed);
    int8_t *const w8 = new_bytes(groups * tiles, -127, seed);
    int32_t *const offset = new_offsets(w8, groups, tiles);
    int8_t *const q = malloc(32 * blocks);
    float *const scales = malloc(4 * blocks), *const y = malloc(4 * panels), *const tile = malloc(4 * tiles);
    float *const row = malloc(4 * count), *const tanhs = malloc(4 * count), *const sigmoids = malloc(4 * count);
    int32_t *const offsets = malloc(4 * blocks), *const rounded = malloc(4 * count);
    product_f32(level, y, x, w, panel_bias, inputs, outputs);
    hash = hashed(hash, y, 4 * made);
    product_u8(level, tile, u8, w8, scale, bias, offset, (int)groups, outputs);
    hash = hashed(hash, tile, 4 * made);
    round_blocks(level, q, scales, offsets, x, (int)blocks);
    hash = hashed(hashed(hashed(hash, q, 32 * blocks), scales, 4 * blocks), offsets, 4 * blocks);
    product_u4(level, y, q, scales, offsets, u4, factors, panel_bias, (int)blocks, outputs);
    hash = hashed(hash, y, 4 * made);
    row_u4(level, row, u4, factors, inputs);
    hash = hashed(hash, row, 4 * count);
    loop(level, tanhs, sigmoids, rounded, u8, x, 0.03f, inputs);
    hash = hashed(hashed(hash, tanhs, 4 * count), sigmoids, 4 * count);
    hash = hashed(hashed(hash, rounded, 4 * count), u8, count);
    free(x), free(w), free(panel_bias), free(bias), free(scale), free(factors), free(u8), free(u4), free(w8);
    free(offset), free(q), free(scales), free(y), free(tile), free(row), free(tanhs), free(sigmoids);
    free(offsets), free(rounded);
    return hash;
}

static uint64_t hash_of_kernels(int level)
{
    uint64_t hash = 14695981039346656037u;
    uint32_t seed = 1;
    int inputs, outputs;
    for (inputs = 1; inputs < 140; inputs += 23)
        for (outputs = 1; outputs < 180; outputs += 29)
            hash = exercised(hash, level, inputs, outputs, &seed);
    return hash;
}
