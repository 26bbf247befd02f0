#include "services.h"

Services servicesStart(void)
{
    Services services = {.broker = brokerMake()};
    services.cloud = cloudMake(services.broker.port);
    brokerStart(&services.broker);
    cloudStart(&services.cloud);
    return services;
}

void servicesStop(Services *services)
{
    cloudStop(&services->cloud);
    brokerStop(&services->broker);
}
