/*
 * systemd's own interface: unit files, and what `systemctl show` says. Both pure. Not installed.
 *
 * A service is the unit platypus-<service>.service (plain pp-<service> would be the agents' own units for
 * applications of their names), a file in --systemd-dir that begins with INTENT__UNIT_MARK.
 */
#ifndef INTENT_SYSTEMD_H
#define INTENT_SYSTEMD_H

#include <intent/service.h>

#define INTENT__UNIT_MARK "# Made by pp-setlive; changes do not last.\n"

struct intent__unit_status {
	bool loaded;         /* systemd has read the unit file */
	bool needs_reload;   /* ... and the file has changed since */
	bool has_job;        /* somebody asked for a start or stop that is under way */
	pid_t pid;           /* of the main process; 0: none */
	enum { INTENT__UNIT_INACTIVE, INTENT__UNIT_ACTIVATING, INTENT__UNIT_RESTARTING, INTENT__UNIT_ACTIVE,
	       INTENT__UNIT_DEACTIVATING } state;
	char fragment[1024]; /* the unit file; "": none */
};

/* The properties to ask for: --property=... */
extern const char intent__unit_properties[];

/* Takes any text. INTENT_EMALFORMED when it does not say what state the unit is in. */
int intent__unit_status_parse(const char *text, struct intent__unit_status *ret, struct intent_error *err);

/* "platypus-slug.service"; what a unit's name cannot have becomes \xHH, as systemd-escape(1) does it. Owned. */
char *intent__unit_name(const char *service);

/* The unit file. Owned. */
char *intent__unit_render(const struct intent_site *site, const json_t *intent, const char *service);

/* {NAME: value} as an EnvironmentFile=. Owned. */
char *intent__unit_environment(const json_t *variables);

#endif
