#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif

#include "ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t) port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int freePort(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int handle = socket(AF_INET, SOCK_STREAM, 0);
    if (handle < 0 || bind(handle, (struct sockaddr *) &address, sizeof address) != 0 ||
        getsockname(handle, (struct sockaddr *) &address, &size) != 0) {
        perror("no port is free");
        exit(1);
    }
    close(handle);
    return ntohs(address.sin_port);
}

bool portAnswers(int port)
{
    struct sockaddr_in address = loopback(port);
    int handle = socket(AF_INET, SOCK_STREAM, 0);
    if (handle < 0) return false;
    bool answers = connect(handle, (struct sockaddr *) &address, sizeof address) == 0;
    close(handle);
    return answers;
}
