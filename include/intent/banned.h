/*
 * Functions that this project never calls: each either has no bound, shares
 * static state, or hands a string to a shell. Included by every other header.
 */
#ifndef INTENT_BANNED_H
#define INTENT_BANNED_H

/*
 * System headers come first: some of them inline or wrap these very names,
 * and poisoning them before would break the header instead of our use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INTENT_BANNED(name) name##_is_banned_see_banned_h

#undef strcpy
#define strcpy INTENT_BANNED(strcpy)
#undef strcat
#define strcat INTENT_BANNED(strcat)
#undef sprintf
#define sprintf INTENT_BANNED(sprintf)
#undef vsprintf
#define vsprintf INTENT_BANNED(vsprintf)
#undef strtok
#define strtok INTENT_BANNED(strtok)
#undef atoi
#define atoi INTENT_BANNED(atoi)
#undef gmtime
#define gmtime INTENT_BANNED(gmtime)
#undef localtime
#define localtime INTENT_BANNED(localtime)
#undef mktemp
#define mktemp INTENT_BANNED(mktemp)
#undef system
#define system INTENT_BANNED(system)
#undef popen
#define popen INTENT_BANNED(popen)

/* "The result is to be freed by this": gcc checks it, clang does not know it. */
#if defined(__GNUC__) && !defined(__clang__)
#define intent_owned(free_function) \
	__attribute__((malloc, malloc(free_function, 1), warn_unused_result))
#else
#define intent_owned(free_function) __attribute__((malloc, warn_unused_result))
#endif

#endif
