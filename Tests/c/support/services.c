#include "services.h"
#include "check.h"

Services servicesStart(void) { return servicesStartWith(""); }

Services servicesStartWith(const char *setting)
{
    Services services = {.broker = brokerMake()};
    services.cloud = cloudMake(services.broker.port);
    FILE *settings = fopen(scratch("mosquitto.conf"), "a");
    REQUIRE(settings != NULL);
    fprintf(settings, "%s\n", setting);
    fclose(settings);
    brokerStart(&services.broker);
    cloudStart(&services.cloud);
    return services;
}

void servicesStop(Services *services)
{
    cloudStop(&services->cloud);
    brokerStop(&services->broker);
}
