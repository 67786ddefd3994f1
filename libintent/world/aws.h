/* Between aws-credentials.c and s3.c. Not installed. */
#ifndef INTENT__AWS_H
#define INTENT__AWS_H

#include <intent/aws.h>

/* What stands between <name> and </name> of an XML answer; false, and "", when it is not there or too long. */
bool intent__aws_xml_value(const char *xml, const char *name, char *out, size_t room);

#endif
