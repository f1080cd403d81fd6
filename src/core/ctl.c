#include "core/ctl.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "core/ctl_private.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/module.h"

#define MAX_BODY_BYTES	  (64 * 1024)
#define MAX_HEADERS_BYTES (8 * 1024)
#define TIMEOUT_S	  10
#define LEAVE_MS	  2000 /* a socket that was left answers what it was asked */
#define MAX_TABLES	  32
#define MAX_ERROR_BYTES	  (64 * 1024)
#define PREFIX		  "/v1/"

/* The commands of one module. */
struct table {
	const struct ctl_command *cmds;
	void *self;
};

/* One socket that is served. */
struct endpoint {
	struct evhttp *http;
	char *path;
	dev_t device; /* of the socket file: only our own is removed */
	ino_t inode;
	struct conn listener;
};

struct ctl {
	struct env *env;
	struct endpoint *at;
	struct endpoint *old; /* being left: answers under way still go out */
	struct timer leave;
	struct table tables[MAX_TABLES];
	size_t n_tables;
};

/* A client from its first request until its connection ends. */
struct client {
	struct ctl *ctl;
	struct conn conn;
	long uid;
};

static const char *param_get(const struct ctl_request *r, const char *key)
{
	return evhttp_find_header(r->impl, key);
}

int ctl_fail(json_t **out, int http_status, const char *fmt, ...)
{
	struct buf text;
	va_list ap;

	buf_init(&text, MAX_ERROR_BYTES);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	*out = json_object();
	if (*out)
		json_object_set_new(*out, "error", ctl_json_text(text.p ? text.p : ""));
	buf_fini(&text);
	return http_status;
}

static void client_gone(struct evhttp_connection *evcon, void *arg)
{
	struct client *client = arg;

	conn_end(client->ctl->env->conns, &client->conn, "closed");
	free(client);
}

/* Enters the client into the connection table. A full table or memory shuts nobody out here: the
 * control socket is what the operator needs then. */
static long client_enter(struct ctl *c, struct evhttp_request *req)
{
	struct evhttp_connection *evcon = evhttp_request_get_connection(req);
	struct bufferevent *bev = evhttp_connection_get_bufferevent(evcon);
	long uid = ctl_socket_peer_uid(bufferevent_getfd(bev));
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return uid;
	client->ctl = c;
	client->conn.kind = CONN_CONTROL;
	client->conn.transport = CONN_UNIX;
	client->conn.parent = c->at ? c->at->listener.id : 0;
	client->conn.state = "open";
	snprintf(client->conn.user, sizeof(client->conn.user), "uid %ld", uid);
	if (conn_add(c->env->conns, &client->conn) < 0) {
		free(client);
		return uid;
	}
	evhttp_connection_set_closecb(evcon, client_gone, client);
	return uid;
}

static const struct ctl_command *find_command(const struct ctl *c, const char *name, void **self)
{
	for (size_t i = 0; i < c->n_tables; i++) {
		for (const struct ctl_command *cmd = c->tables[i].cmds; cmd->name; cmd++) {
			if (strcmp(cmd->name, name) != 0)
				continue;
			*self = c->tables[i].self;
			return cmd;
		}
	}
	return NULL;
}

static int unknown_command(const struct ctl *c, const char *path, json_t **out)
{
	json_t *names = json_array();
	int status = ctl_fail(out, 404, "no such command here: %s", path ? path : "");

	for (size_t i = 0; names && i < c->n_tables; i++) {
		for (const struct ctl_command *cmd = c->tables[i].cmds; cmd->name; cmd++)
			json_array_append_new(names, json_string(cmd->name));
	}
	if (*out)
		json_object_set_new(*out, "commands", names);
	else
		json_decref(names);
	return status;
}

static int run_command(struct ctl *c, struct evhttp_request *req, const struct ctl_command *cmd,
		       void *self, json_t **out)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
	struct ctl_request r = { .param = param_get };
	struct evkeyvalq params;
	int status;

	if (evhttp_parse_query_str(query ? query : "", &params) < 0)
		return ctl_fail(out, 400, "the query is not key=value&key=value");
	r.impl = &params;
	status = cmd->run(self, &r, out);
	evhttp_clear_headers(&params);
	return status;
}

static int dispatch(struct ctl *c, struct evhttp_request *req, long uid, json_t **out)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	const struct ctl_command *cmd = NULL;
	bool is_post = evhttp_request_get_command(req) == EVHTTP_REQ_POST;
	bool is_get = evhttp_request_get_command(req) == EVHTTP_REQ_GET;
	void *self;
	int status;

	if (path && strncmp(path, PREFIX, strlen(PREFIX)) == 0)
		cmd = find_command(c, path + strlen(PREFIX), &self);
	if (!cmd)
		return unknown_command(c, path, out);
	if (cmd->acts ? !is_post : !is_get) {
		evhttp_add_header(headers, "Allow", cmd->acts ? "POST" : "GET");
		return ctl_fail(out, 405, "%s wants %s", cmd->name, cmd->acts ? "POST" : "GET");
	}
	status = run_command(c, req, cmd, self, out);
	if (cmd->acts)
		log_info(c->env->log, "ctl.command", "command=%s uid=%ld status=%d", cmd->name, uid,
			 status);
	return status;
}

static const char *status_text(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 409:
		return "Conflict";
	default:
		return "Internal Server Error";
	}
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct ctl *c = arg;
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	struct evbuffer *body = evbuffer_new();
	json_t *reply = NULL;
	int status = dispatch(c, req, client_enter(c, req), &reply);
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	if (!text && status == 200 && reply)
		status = 500;
	evhttp_add_header(headers, "Content-Type", "application/json");
	evhttp_add_header(headers, "Cache-Control", "no-store");
	/* One request a connection: idle ones would only hold descriptors. */
	evhttp_add_header(headers, "Connection", "close");
	if (body)
		evbuffer_add_printf(body, "%s\n", text ? text : "{}");
	evhttp_send_reply(req, status, status_text(status), body);
	if (body)
		evbuffer_free(body);
	free(text);
	json_decref(reply);
}

/* Takes fd over, whatever happens. */
static int serve(struct ctl *c, struct endpoint *e, int fd)
{
	struct event_base *base = loop_base(c->env->loop);
	unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC;
	struct evconnlistener *listener;

	listener = evconnlistener_new(base, NULL, NULL, flags, 0, fd);
	if (!listener) {
		close(fd);
		return -ENOMEM;
	}
	e->http = evhttp_new(base);
	if (!e->http || !evhttp_bind_listener(e->http, listener)) {
		evconnlistener_free(listener);
		return -ENOMEM;
	}
	evhttp_set_max_body_size(e->http, MAX_BODY_BYTES);
	evhttp_set_max_headers_size(e->http, MAX_HEADERS_BYTES);
	evhttp_set_timeout(e->http, TIMEOUT_S);
	evhttp_set_allowed_methods(e->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
						    EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE);
	evhttp_set_gencb(e->http, on_request, c);
	return 0;
}

static void endpoint_free(struct ctl *c, struct endpoint *e)
{
	struct stat st;

	if (!e)
		return;
	/* Closes the listener and every client, whose entries end by client_gone(). */
	if (e->http)
		evhttp_free(e->http);
	conn_end(c->env->conns, &e->listener, "stopped");
	if (e->inode && lstat(e->path, &st) == 0 && st.st_ino == e->inode && st.st_dev == e->device)
		unlink(e->path);
	free(e->path);
	free(e);
}

static struct endpoint *endpoint_new(struct ctl *c, const char *path, const char *group, int *error)
{
	struct endpoint *e = calloc(1, sizeof(*e));
	struct stat st = { 0 };
	int fd, r = -ENOMEM;

	if (!e || !(e->path = strdup(path)))
		goto out;
	fd = r = ctl_socket_listen(path, group);
	if (r < 0)
		goto out;
	if (lstat(path, &st) == 0) {
		e->device = st.st_dev;
		e->inode = st.st_ino;
	}
	r = serve(c, e, fd);
	if (r < 0)
		goto out;
	e->listener.kind = CONN_LISTENER;
	e->listener.transport = CONN_UNIX;
	e->listener.state = "listening";
	slice_copy(e->listener.user, sizeof(e->listener.user), slice_of(path));
	/* Without room in the table it serves all the same. */
	conn_add(c->env->conns, &e->listener);
out:
	*error = r < 0 ? r : 0;
	if (r >= 0)
		return e;
	endpoint_free(c, e);
	return NULL;
}

static void on_leave(void *arg)
{
	struct ctl *c = arg;

	endpoint_free(c, c->old);
	c->old = NULL;
}

struct ctl *ctl_new(struct env *env, const char *path, const char *group, int *error)
{
	struct ctl *c = calloc(1, sizeof(*c));

	*error = -ENOMEM;
	if (!c)
		return NULL;
	c->env = env;
	timer_init(&c->leave, on_leave, c);
	c->at = endpoint_new(c, path, group, error);
	if (c->at)
		*error = ctl_add(c, ctl_commands, env);
	if (*error == 0)
		return c;
	ctl_free(c);
	return NULL;
}

int ctl_move(struct ctl *c, const char *path, const char *group)
{
	struct endpoint *next;
	int error;

	if (strcmp(path, c->at->path) == 0) {
		/* The same file with another group: no second socket can stand there. */
		return ctl_socket_own(path, group);
	}
	next = endpoint_new(c, path, group, &error);
	if (!next)
		return error;
	if (c->old)
		on_leave(c);
	c->old = c->at;
	c->at = next;
	timer_start(loop_timers(c->env->loop), &c->leave, LEAVE_MS);
	return 0;
}

void ctl_free(struct ctl *c)
{
	if (!c)
		return;
	timer_stop(loop_timers(c->env->loop), &c->leave);
	endpoint_free(c, c->old);
	endpoint_free(c, c->at);
	free(c);
}

int ctl_add(struct ctl *c, const struct ctl_command *cmds, void *self)
{
	void *other;

	if (c->n_tables == MAX_TABLES)
		return -ENOSPC;
	for (const struct ctl_command *cmd = cmds; cmd->name; cmd++) {
		if (find_command(c, cmd->name, &other))
			return -EEXIST;
	}
	c->tables[c->n_tables++] = (struct table){ cmds, self };
	return 0;
}
