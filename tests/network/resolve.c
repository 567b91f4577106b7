// SPDX-License-Identifier: Apache-2.0
/* Prints the addresses of the names that are its arguments, as getaddrinfo has them. Used by test_names.py. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;

	for (int i = 1; i < argc; i++) {
		if (getaddrinfo(argv[i], "80", &hints, &found)) {
			printf("%s: not found\n", argv[i]);
			continue;
		}
		for (struct addrinfo *one = found; one; one = one->ai_next) {
			char text[INET6_ADDRSTRLEN];
			const void *at = one->ai_family == AF_INET6 ?
						 (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr :
						 (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr;

			puts(inet_ntop(one->ai_family, at, text, sizeof text));
		}
		freeaddrinfo(found);
	}
}
