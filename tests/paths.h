/* paths.h - the code paths of >>cpu, one after the other. Those this CPU has not are reported once as skipped, not as passed.
 *
 *     EACH_PATH(path) { ... }                       // the last turn is the portable one; afterwards everything is allowed again
 */
#ifndef CHOPIN_TEST_PATHS_H
#define CHOPIN_TEST_PATHS_H

static const struct { const char *name; unsigned allowed, needs; } test_paths[] = {
    { "everything", ~0u, 0 },
#if defined(CHOPIN_AUTH__X86)
    { "sha-ni", CHOPIN_AUTH__CPU_SHANI, CHOPIN_AUTH__CPU_SHANI },
    { "avx2", CHOPIN_AUTH__CPU_AVX2, CHOPIN_AUTH__CPU_AVX2 },
    { "bmi2", CHOPIN_AUTH__CPU_BMI2, CHOPIN_AUTH__CPU_BMI2 },
    { "avx2 and bmi2", CHOPIN_AUTH__CPU_AVX2 | CHOPIN_AUTH__CPU_BMI2, CHOPIN_AUTH__CPU_AVX2 | CHOPIN_AUTH__CPU_BMI2 },
    { "bmi2 and adx", CHOPIN_AUTH__CPU_BMI2 | CHOPIN_AUTH__CPU_ADX, CHOPIN_AUTH__CPU_BMI2 | CHOPIN_AUTH__CPU_ADX },
#elif defined(CHOPIN_AUTH__ARM)
    { "armv8 sha-2", CHOPIN_AUTH__CPU_SHA2, CHOPIN_AUTH__CPU_SHA2 },
    { "armv8 sha-512", CHOPIN_AUTH__CPU_SHA512, CHOPIN_AUTH__CPU_SHA512 },
#endif
    { "portable", 0, 0 }
};
static unsigned test_paths_told;

/* The first path at or behind i that this CPU has, switched to; the number of paths when there is none, and then everything is allowed again. */
static inline size_t test_path(size_t i) {
    for (; i < sizeof test_paths / sizeof *test_paths; i++) {
        if ((chopin_auth__cpu_force(test_paths[i].allowed) & test_paths[i].needs) == test_paths[i].needs) return i;
        if (!(test_paths_told >> i & 1)) printf("skipped: path %s, this CPU has it not\n", test_paths[i].name);
        test_paths_told |= 1u << i;
    }
    chopin_auth__cpu_force(~0u);
    return i;
}
#define EACH_PATH(i) for (size_t i = test_path(0); i < sizeof test_paths / sizeof *test_paths; i = test_path(i + 1))
#endif
