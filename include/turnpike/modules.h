#ifndef TURNPIKE_MODULES_H
#define TURNPIKE_MODULES_H
/* The modules that the daemon is made of; each is defined in its folder's mod_*.c. */
struct module;

extern const struct module route_module;
extern const struct module media_module;
extern const struct module uc_module;
extern const struct module tunnel_module;
extern const struct module signin_module;
extern const struct module http_module;
extern const struct module turn_module;
extern const struct module xmpp_module;
extern const struct module sip_module;

#endif
