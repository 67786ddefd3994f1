/* Signing against AWS' published vectors; credentials and objects against a scripted server. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <intent/aws.h>
#include <intent/digest.h>
#include <intent/file.h>

static const char host[] = "Host: example.amazonaws.com", bucket[] = "Host: examplebucket.s3.amazonaws.com";
#define DAY "X-Amz-Date: 20150830T123600Z"
#define S3_DAY "X-Amz-Date: 20130524T000000Z"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define S3_EMPTY "x-amz-content-sha256: " EMPTY
#define WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

/* AWS' Signature Version 4 test suite, and the examples of the S3 API reference. */
static const struct {
	bool s3;
	const char *method, *path, *query, *headers[8], *body, *names, *signature;
} vectors[] = {
	{false, "GET", "/", "", {host, DAY}, "", "host;x-amz-date",
	 "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{false, "POST", "/", "", {DAY, host}, "", "host;x-amz-date",
	 "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{false, "GET", "/", "Param1=value1&Param2=value2", {host, DAY}, "", "host;x-amz-date",
	 "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	{false, "GET", "/", "", {host, "My-Header1: value1", "My-Header2:   \"a   b   c\"  ", DAY}, "",
	 "host;my-header1;my-header2;x-amz-date",
	 "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
	{false, "POST", "/", "", {host, DAY, "Content-Type:application/x-www-form-urlencoded"}, "Param1=value1",
	 "content-type;host;x-amz-date",
	 "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
	{true, "GET", "/test.txt", "", {bucket, "Range: bytes=0-9", S3_EMPTY, S3_DAY}, "",
	 "host;range;x-amz-content-sha256;x-amz-date",
	 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
	{true, "PUT", "/test%24file.text", "",
	 {bucket, "Date: Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class: REDUCED_REDUNDANCY",
	  /* One string. NOLINTNEXTLINE(bugprone-suspicious-missing-comma) */
	  "x-amz-content-sha256: " WELCOME, S3_DAY}, "Welcome to Amazon S3.",
	 "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
	 "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
	{true, "GET", "/", "lifecycle=", {bucket, S3_EMPTY, S3_DAY}, "", "host;x-amz-content-sha256;x-amz-date",
	 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
	{true, "GET", "/", "max-keys=2&prefix=J", {bucket, S3_EMPTY, S3_DAY}, "", "host;x-amz-content-sha256;x-amz-date",
	 "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

START_TEST(test_vector)
{
	static char key_id[] = "AKIDEXAMPLE", secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
	static char s3_id[] = "AKIAIOSFODNN7EXAMPLE", s3_secret[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
	bool s3 = vectors[_i].s3;
	struct intent_aws_credentials who = {.key_id = s3 ? s3_id : key_id, .secret = s3 ? s3_secret : secret};
	intent_text_auto struct intent_text said = INTENT_TEXT_INIT;
	intent_free_auto char *names = intent_format("SignedHeaders=%s,", vectors[_i].names);
	intent_free_auto char *signature = intent_format("Signature=%s", vectors[_i].signature);
	struct intent_error err;
	char payload[65];

	intent_sha256_hex(vectors[_i].body, strlen(vectors[_i].body), payload);
	struct intent_aws_request request = {
		.method = vectors[_i].method, .path = vectors[_i].path, .query = vectors[_i].query,
		.headers = vectors[_i].headers, .payload = payload, .region = "us-east-1",
		.service = s3 ? "s3" : "service", .time = s3 ? "20130524T000000Z" : "20150830T123600Z",
	};
	ck_assert_int_eq(intent_aws_sign(&request, &who, &said, &err), 0);
	ck_assert_msg(strstr(intent_text_str(&said), names) != NULL, "%s", intent_text_str(&said));
	ck_assert_msg(intent_ends_with(intent_text_str(&said), signature), "%s", intent_text_str(&said));
}
END_TEST

START_TEST(test_hmac)
{
	unsigned char mac[32];
	char hex[65];

	intent_hmac_sha256("key", 3, "The quick brown fox jumps over the lazy dog", 43, mac); /* RFC 2104's function */
	intent_hex(hex, mac, 32);
	ck_assert_str_eq(hex, "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
}
END_TEST

/* ---- a server that answers by path ---- */

#define STS "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>" \
	"<SessionToken>TK</SessionToken><SecretAccessKey>SK</SecretAccessKey>" \
	"<Expiration>2026-11-21T18:00:00Z</Expiration><AccessKeyId>AKsts</AccessKeyId></Credentials>" \
	"</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"

static const struct {
	const char *begins, *needs, *answer; /* `needs`: a line of the request, or it answers 401 */
	int status;
	const char *header;
} routes[] = {
	{"PUT /latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: ", "session", 200, ""},
	{"GET /latest/meta-data/iam/security-credentials/ ", "X-aws-ec2-metadata-token: session", "role\n", 200, ""},
	{"GET /latest/meta-data/iam/security-credentials/role ", "X-aws-ec2-metadata-token: session", "{\"Code\": \"Success\", "
	 "\"AccessKeyId\": \"AKinstance\", \"SecretAccessKey\": \"SK\", \"Token\": \"TK\", \"Expiration\": "
	 "\"2026-11-21T18:00:00Z\"}", 200, ""},
	{"GET /latest/meta-data/placement/region ", "X-aws-ec2-metadata-token: session", "eu-north-1", 200, ""},
	{"GET /pod ", "Authorization: podtoken", "{\"AccessKeyId\": \"AKpod\", \"SecretAccessKey\": \"SK\", \"Token\": \"TK\", "
	 "\"Expiration\": \"2026-11-21T18:00:00Z\"}", 200, ""},
	{"POST / ", "WebIdentityToken=a.b%2Bc", "", 400, ""},
	{"POST /sts ", "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=platypus&WebIdentityToken=a.b%2Bc", STS, 200, ""},
	{"GET /bucket/a%20key/x.tfstate ", "If-None-Match: \"tag\"", "", 304, ""},
	{"GET /bucket/state ", "Authorization: AWS4-HMAC-SHA256 Credential=AK/", "the state", 200, "ETag: \"tag\"\r\n"},
	{"GET /bucket/moved ", "/eu-west-1/s3/", "there", 200, ""},
	{"GET /bucket/missing ", "", "<Error><Code>NoSuchKey</Code><Message>no</Message></Error>", 404, ""},
	{"GET /bucket/secret ", "", "<Error><Code>AccessDenied</Code><Message>no</Message></Error>", 403, ""},
	{"GET /bucket/busy ", "", "<Error><Code>SlowDown</Code><Message>later</Message></Error>", 503, ""},
	{"PUT /bucket/new ", "X-Amz-Server-Side-Encryption: AES256\r\nIf-None-Match: *\r\nX-Amz-Meta-Owner: prod/x\r\n", "",
	 200, ""},
	{"PUT /bucket/taken ", "If-None-Match: *", "<Error><Code>PreconditionFailed</Code></Error>", 412, ""},
	{"DELETE /bucket/gone ", "", "", 404, ""},
};

static int port, listener;

static void answer(int fd, const char *request)
{
	intent_free_auto char *text = NULL;

	for (size_t i = 0; i < sizeof(routes) / sizeof(*routes) && !text; i++) {
		if (!intent_starts_with(request, routes[i].begins))
			continue;
		bool good = strstr(request, routes[i].needs) != NULL;
		bool moved = !good && strstr(routes[i].begins, "moved");

		text = intent_format("HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
				     good ? routes[i].status : moved ? 301 : 401,
				     moved ? "x-amz-bucket-region: eu-west-1\r\n" : routes[i].header,
				     good ? strlen(routes[i].answer) : 0, good ? routes[i].answer : "");
	}
	if (!text)
		text = strdup("HTTP/1.1 418 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void *serve(void *unused)
{
	(void)unused;
	for (;;) {
		char request[16384];
		size_t length = 0;
		const char *body, *size;
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return NULL;
		request[0] = '\0';
		while (!(body = strstr(request, "\r\n\r\n")) ||
		       ((size = strstr(request, "Content-Length: ")) && strlen(body + 4) < strtoul(size + 16, NULL, 10))) {
			ssize_t got = recv(fd, request + length, sizeof(request) - length - 1, 0);

			if (got <= 0)
				break;
			length += (size_t)got;
			request[length] = '\0';
		}
		answer(fd, request);
		close(fd);
	}
}

static char here[64], directory[] = "/tmp/aws-test-XXXXXX";
static struct intent_http *http;

static void put_file(const char *name, const char *text)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name);
	struct intent_error err;

	ck_assert_int_eq(intent_file_write(path, text, strlen(text), 0600, &err), 0);
}

static void set_path(const char *name, const char *file)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, file);

	setenv(name, path, 1);
}

static void start(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	pthread_t thread;

	clearenv();
	listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert(!bind(listener, (struct sockaddr *)&at, size) && !listen(listener, 16));
	ck_assert(!getsockname(listener, (struct sockaddr *)&at, &size));
	port = ntohs(at.sin_port);
	snprintf(here, sizeof(here), "http://127.0.0.1:%d", port);
	ck_assert(!pthread_create(&thread, NULL, serve, NULL));
	http = intent_http_new(&(struct intent_http_settings){0});
	ck_assert_ptr_nonnull(mkdtemp(directory));
	setenv("HOME", directory, 1);
	put_file("token", "a.b+c\n");
	put_file("pod", "podtoken\n");
}

static void stop(void)
{
	struct intent_error err;

	http = intent_http_free(http);
	intent_tree_remove(directory, &err);
}

static void expect(const char *key_id, bool with_token)
{
	struct intent_aws_credentials got = {0};
	struct intent_error err = {0};

	int code = intent_aws_credentials_find(http, "eu-central-1", &got, &err);
	ck_assert_msg(code == 0, "%s", err.msg);
	ck_assert_str_eq(got.key_id, key_id);
	ck_assert_str_eq(got.secret, "SK");
	ck_assert(!got.token == !with_token);
	ck_assert_ptr_nonnull(got.source);
	intent_aws_credentials_release(&got);
	ck_assert_ptr_null(got.secret);
}

static void refused(int code, const char *words)
{
	struct intent_aws_credentials got = {0};
	struct intent_error err = {0};

	ck_assert_int_eq(intent_aws_credentials_find(http, "eu-central-1", &got, &err), code);
	ck_assert_msg(strstr(err.msg, words) != NULL, "%s", err.msg);
	ck_assert_ptr_null(got.key_id);
}

/* Each source in its turn, from the last to the first: the one before it goes first as soon as it is there. */
START_TEST(test_order)
{
	char url[128];

	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	refused(INTENT_EABSENT, "AWS_WEB_IDENTITY_TOKEN_FILE");
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", here, 1);
	expect("AKinstance", true);
	snprintf(url, sizeof(url), "%s/pod", here);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
	refused(INTENT_EREFUSED, "401"); /* configured and failing: not the instance's */
	set_path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "pod");
	expect("AKpod", true);
	set_path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	refused(INTENT_EABSENT, "credentials"); /* named, and not there */
	put_file("credentials", "[other]\naws_access_key_id=AKother\naws_secret_access_key=SK\n"
		 "[default]\n# a comment\naws_access_key_id = AKfile\r\naws_secret_access_key = SK\r\n");
	expect("AKfile", false);
	setenv("AWS_PROFILE", "other", 1);
	expect("AKother", false);
	setenv("AWS_PROFILE", "third", 1);
	refused(INTENT_EREFUSED, "third");
	set_path("AWS_WEB_IDENTITY_TOKEN_FILE", "token");
	refused(INTENT_EUSAGE, "AWS_ROLE_ARN");
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	set_path("AWS_WEB_IDENTITY_TOKEN_FILE", "no-such-token");
	refused(INTENT_EABSENT, "no-such-token");
	set_path("AWS_WEB_IDENTITY_TOKEN_FILE", "token");
	setenv("AWS_ENDPOINT_URL_STS", here, 1);
	refused(INTENT_EREFUSED, "400");
	snprintf(url, sizeof(url), "%s/sts", here);
	setenv("AWS_ENDPOINT_URL_STS", url, 1);
	expect("AKsts", true);
	setenv("AWS_ACCESS_KEY_ID", "AKenv", 1);
	refused(INTENT_EUSAGE, "belong together");
	setenv("AWS_SECRET_ACCESS_KEY", "SK", 1);
	expect("AKenv", false);
}
END_TEST

START_TEST(test_region)
{
	struct intent_error err;
	char region[64];

	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", here, 1);
	ck_assert_int_eq(intent_aws_region(http, NULL, region, &err), 0);
	ck_assert_str_eq(region, "eu-north-1");
	ck_assert_int_eq(intent_aws_region(http, "eu-west-3", region, &err), 0);
	ck_assert_str_eq(region, "eu-west-3");
	setenv("AWS_DEFAULT_REGION", "us-east-2", 1);
	ck_assert_int_eq(intent_aws_region(http, "eu-west-3", region, &err), 0);
	ck_assert_str_eq(region, "us-east-2");
	setenv("AWS_REGION", "evil.example/", 1);
	ck_assert_int_eq(intent_aws_region(http, NULL, region, &err), INTENT_EMALFORMED);
}
END_TEST

START_TEST(test_object)
{
	static char key_id[] = "AK", secret[] = "SK";
	static const struct { const char *key; int code; const char *words; } gets[] = {
		{"state", 0, "the state"}, {"moved", 0, "there"}, {"missing", INTENT_EABSENT, "NoSuchKey"},
		{"secret", INTENT_EREFUSED, "s3:ListBucket"}, {"busy", INTENT_EUNAVAILABLE, "SlowDown"},
	};
	struct intent_aws_credentials who = {.key_id = key_id, .secret = secret, .source = "a test"};
	struct intent_s3_object object = {.bucket = "bucket", .region = "us-east-1", .endpoint = here};
	struct intent_http_response got = {0};
	struct intent_error err;

	for (size_t i = 0; i < sizeof(gets) / sizeof(*gets); i++) {
		object.key = gets[i].key;
		int code = intent_s3_get(http, &object, &who, NULL, &got, &err);
		ck_assert_msg(code == gets[i].code, "%s: %d %s", gets[i].key, code, code ? err.msg : "");
		ck_assert_msg(strstr(code ? err.msg : intent_text_str(&got.body), gets[i].words) != NULL, "%s: %s",
			      gets[i].key, code ? err.msg : "");
		intent_http_response_release(&got);
	}
	object.key = "a key/x.tfstate";
	ck_assert_int_eq(intent_s3_get(http, &object, &who, "\"tag\"", &got, &err), 0);
	ck_assert_int_eq(got.status, 304);
	intent_http_response_release(&got);
	object.key = "new";
	struct intent_s3_content content = {.body = "x", .length = 1, .encryption = "AES256", .etag = "",
					    .metadata = "X-Amz-Meta-Owner: prod/x"};
	ck_assert_int_eq(intent_s3_put(http, &object, &who, &content, &err), 0);
	object.key = "taken";
	ck_assert_int_eq(intent_s3_put(http, &object, &who, &content, &err), INTENT_ECONFLICT);
	object.key = "gone";
	ck_assert_int_eq(intent_s3_delete(http, &object, &who, &err), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("aws");
	TCase *pure = tcase_create("signing"), *served = tcase_create("served");
	SRunner *runner;

	tcase_add_loop_test(pure, test_vector, 0, sizeof(vectors) / sizeof(*vectors));
	tcase_add_test(pure, test_hmac);
	tcase_add_checked_fixture(served, start, stop);
	tcase_add_test(served, test_order);
	tcase_add_test(served, test_region);
	tcase_add_test(served, test_object);
	suite_add_tcase(suite, pure);
	suite_add_tcase(suite, served);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
