/*
 * A control point on Debian's libupnp, the library of aMule and VLC: search, description, events,
 * and a TCP port. Over IPv6 it leaves events out: libupnp 1.8 then has them sent to an address of
 * the host at which it does not listen.
 * Arguments: 4 or 6, the family of the LOCATION it takes; version of the device; internal address;
 * internal port; external port.
 * It says each step in one line, closes the port when a line comes in, and ends.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <upnp.h>
#include <upnptools.h>

enum { LINE = 4096 };

/* What the library's threads have to say to the main one, a line each. */
static int found[2], events[2];
static int family;

static void fail(const char *what, int code)
{
	printf("%s: %d %s\n", what, code, UpnpGetErrorMessage(code));
	exit(1);
}

/* Every call below returns UPNP_E_SUCCESS, 0, or there is no point in going on. */
static void must(const char *what, int code)
{
	if (code != UPNP_E_SUCCESS)
		fail(what, code);
}

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

static void send_line(int to, const char *line)
{
	if (write(to, line, strlen(line)) < 0 || write(to, "\n", 1) < 0)
		abort();
}

/* The next line of a pipe. A library that never calls ends the program. */
static const char *next_line(int from)
{
	static char line[LINE];
	size_t length = 0;

	alarm(15);
	while (length < sizeof line - 1 && read(from, line + length, 1) == 1 && line[length] != '\n')
		length++;
	alarm(0);
	line[length] = '\0';
	return line;
}

static const char *text_of(IXML_Node *element)
{
	IXML_Node *child = ixmlNode_getFirstChild(element);
	const char *value = child ? ixmlNode_getNodeValue(child) : NULL;

	return value ? value : "";
}

/* The text of the first element of this name in a document. */
static const char *element(IXML_Document *document, const char *name)
{
	IXML_NodeList *list = ixmlDocument_getElementsByTagName(document, name);
	IXML_Node *node = ixmlNodeList_item(list, 0);

	return node ? text_of(node) : "";
}

static void on_event(const UpnpEvent *event)
{
	char line[LINE];
	size_t length;
	IXML_NodeList *properties = ixmlDocument_getElementsByTagName(
		UpnpEvent_get_ChangedVariables(event), "e:property");
	unsigned long i;

	length = (size_t)snprintf(line, sizeof line, "event %d", UpnpEvent_get_EventKey(event));
	for (i = 0; i < ixmlNodeList_length(properties); i++) {
		IXML_Node *variable = ixmlNode_getFirstChild(ixmlNodeList_item(properties, i));

		length += (size_t)snprintf(line + length, sizeof line - length, " %s=%s",
			ixmlNode_getNodeName(variable), text_of(variable));
	}
	send_line(events[1], line);
	ixmlNodeList_free(properties);
}

static int called(Upnp_EventType type, const void *event, void *cookie)
{
	(void)cookie;
	if (type == UPNP_DISCOVERY_SEARCH_RESULT) {
		const char *location = UpnpString_get_String(UpnpDiscovery_get_Location(event));

		if ((strchr(location, '[') ? 6 : 4) == family)
			send_line(found[1], location);
	} else if (type == UPNP_EVENT_RECEIVED) {
		on_event(event);
	}
	return 0;
}

/* A URL of the connection service in the description at a location. */
static char *url_of(IXML_Document *description, const char *location, const char *service_type,
	const char *what)
{
	IXML_NodeList *services = ixmlDocument_getElementsByTagName(description, "service");
	unsigned long i;
	char *url = NULL;

	for (i = 0; i < ixmlNodeList_length(services); i++) {
		IXML_Element *service = (IXML_Element *)ixmlNodeList_item(services, i);
		IXML_NodeList *type = ixmlElement_getElementsByTagName(service, "serviceType");
		IXML_NodeList *path = ixmlElement_getElementsByTagName(service, what);

		if (strcmp(text_of(ixmlNodeList_item(type, 0)), service_type) == 0)
			must(what, UpnpResolveURL2(location, text_of(ixmlNodeList_item(path, 0)), &url));
	}
	if (!url)
		fail(what, UPNP_E_INVALID_SERVICE);
	return url;
}

/* Calls an action with pairs of names and values up to a NULL. */
static IXML_Document *call(UpnpClient_Handle handle, const char *url, const char *service_type,
	const char *action, ...)
{
	IXML_Document *request = UpnpMakeAction(action, service_type, 0, NULL), *answer = NULL;
	const char *name;
	va_list args;

	va_start(args, action);
	while ((name = va_arg(args, const char *)))
		must(name, UpnpAddToAction(&request, action, service_type, name,
			va_arg(args, const char *)));
	va_end(args);
	must(action, UpnpSendAction(handle, url, service_type, NULL, request, &answer));
	ixmlDocument_free(request);
	return answer;
}

int main(int count, char **args)
{
	char target[128], service[128], location[LINE];
	const char *address, *internal, *external;
	char *control, *event;
	UpnpClient_Handle handle;
	IXML_Document *description = NULL;
	Upnp_SID sid;
	int seconds = 300;

	if (count != 6 || pipe(found) || pipe(events))
		return 2;
	family = atoi(args[1]);
	snprintf(target, sizeof target, "urn:schemas-upnp-org:device:InternetGatewayDevice:%s", args[2]);
	snprintf(service, sizeof service, "urn:schemas-upnp-org:service:WANIPConnection:%s", args[2]);
	address = args[3];
	internal = args[4];
	external = args[5];

	must("init", UpnpInit2("eth0", 0));
	must("register", UpnpRegisterClient(called, NULL, &handle));
	must("search", UpnpSearchAsync(handle, 3, target, NULL));
	snprintf(location, sizeof location, "%s", next_line(found[0]));
	say("found %s", location);

	must("description", UpnpDownloadXmlDoc(location, &description));
	say("description %s", element(description, "deviceType"));
	control = url_of(description, location, service, "controlURL");
	event = url_of(description, location, service, "eventSubURL");
	say("external address %s", element(call(handle, control, service, "GetExternalIPAddress", NULL),
		"NewExternalIPAddress"));

	if (family == 4) {
		must("subscribe", UpnpSubscribe(handle, event, &seconds, sid));
		say("subscribed for %d s", seconds);
		say("%s", next_line(events[0]));
	}
	call(handle, control, service, "AddPortMapping", "NewRemoteHost", "", "NewExternalPort", external,
		"NewProtocol", "TCP", "NewInternalPort", internal, "NewInternalClient", address,
		"NewEnabled", "1", "NewPortMappingDescription", "libupnp & <co>", "NewLeaseDuration", "600",
		NULL);
	say("mapped");
	if (family == 4)
		say("%s", next_line(events[0]));
	next_line(STDIN_FILENO);

	if (family == 4) {
		seconds = 600;
		must("renew", UpnpRenewSubscription(handle, &seconds, sid));
		say("renewed for %d s", seconds);
	}
	call(handle, control, service, "DeletePortMapping", "NewRemoteHost", "", "NewExternalPort", external,
		"NewProtocol", "TCP", NULL);
	say("unmapped");
	if (family == 4) {
		say("%s", next_line(events[0]));
		must("unsubscribe", UpnpUnSubscribe(handle, sid));
		say("unsubscribed");
	}
	UpnpUnRegisterClient(handle);
	UpnpFinish();
	return 0;
}
