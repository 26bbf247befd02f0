/* PCRE2 for texts of bytes. Its functions are macros that add the width of a character, which Swift does not see: the
 * names with the suffix _8 are used instead. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
