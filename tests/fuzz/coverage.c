/* Tells libFuzzer, which atheris brings, where an extension compiled by gcc has been, and what it
 * has compared: gcc calls a function at each edge, libFuzzer reads tables of counters. Linked into
 * each extension. GOKIQ_LIBFUZZER is the path of the library that libFuzzer is in; it is loaded
 * already, out of the sight of other libraries. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

/* Edges that share a counter are told apart no more; the extensions have some thousands. */
#define COUNTERS 16384
#define INSIDE __attribute__((visibility("hidden")))

struct pc {
    uintptr_t address, flags;
};

static uint8_t counters[COUNTERS];
static struct pc pcs[COUNTERS];

INSIDE void __sanitizer_cov_trace_pc(void)
{
    uintptr_t at = (uintptr_t)__builtin_return_address(0) - (uintptr_t)counters;
    counters[(at ^ (at >> 14)) % COUNTERS]++;
}

/* Compiled to a jump, so that libFuzzer sees who has called. */
#define FORWARD(name, type)                                    \
    static void nobody_##name(type one, type other)            \
    {                                                          \
        (void)one, (void)other;                                \
    }                                                          \
    static void (*to_##name)(type, type) = nobody_##name;      \
    INSIDE void __sanitizer_cov_trace_##name(type one, type other) \
    {                                                          \
        to_##name(one, other);                                 \
    }

FORWARD(cmp1, uint8_t)
FORWARD(cmp2, uint16_t)
FORWARD(cmp4, uint32_t)
FORWARD(cmp8, uint64_t)
FORWARD(const_cmp1, uint8_t)
FORWARD(const_cmp2, uint16_t)
FORWARD(const_cmp4, uint32_t)
FORWARD(const_cmp8, uint64_t)

/* libFuzzer has no use for these. */
INSIDE void __sanitizer_cov_trace_cmpf(float one, float other)
{
    (void)one, (void)other;
}

INSIDE void __sanitizer_cov_trace_cmpd(double one, double other)
{
    (void)one, (void)other;
}

static void (*to_switch)(uint64_t, uint64_t *);
INSIDE void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases)
{
    to_switch(value, cases);
}

static void *find(void *library, const char *name)
{
    void *found = library ? dlsym(library, name) : NULL;
    if (!found)
        abort();
    return found;
}

__attribute__((constructor)) static void announce(void)
{
    const char *path = getenv("GOKIQ_LIBFUZZER");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    void (*take_counters)(uint8_t *, uint8_t *) = find(library, "__sanitizer_cov_8bit_counters_init");
    void (*take_pcs)(const struct pc *, const struct pc *) = find(library, "__sanitizer_cov_pcs_init");

#define FIND(name) to_##name = find(library, "__sanitizer_cov_trace_" #name)
    FIND(cmp1), FIND(cmp2), FIND(cmp4), FIND(cmp8), FIND(switch);
    FIND(const_cmp1), FIND(const_cmp2), FIND(const_cmp4), FIND(const_cmp8);
    for (int i = 0; i < COUNTERS; i++)
        pcs[i].address = (uintptr_t)&counters[i];
    take_counters(counters, counters + COUNTERS);
    take_pcs(pcs, pcs + COUNTERS);
}
