/* Everything of libintent. */
#include <intent/agent.h>
#include <intent/archive.h>
#include <intent/child.h>
#include <intent/digest.h>
#include <intent/documents.h>
#include <intent/envdir.h>
#include <intent/fact.h>
#include <intent/file.h>
#include <intent/health.h>
#include <intent/http.h>
