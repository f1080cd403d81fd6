#ifndef SIGNIN_SIGNIN_CTL_H
#define SIGNIN_SIGNIN_CTL_H
/* GET sessions: who is signed in, and who lately was and why no longer. */
#include "core/ctl.h"
#include "signin/side.h"

/* self is a struct signin_side. */
extern const struct ctl_command signin_ctl_commands[];

#endif
