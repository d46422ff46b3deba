/*
 * A wall clock that is wrong by MONITOR_TEST_CLOCK seconds, for a program that is started with this
 * in LD_PRELOAD. The monotonic clock stays as it is, as on a machine whose time was set wrong.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t offset;

__attribute__((constructor)) static void read_offset(void)
{
    const char *text = getenv("MONITOR_TEST_CLOCK");
    offset = text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found)
{
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (found)
        *found = precise.tv_sec;
    return precise.tv_sec;
}
