# RabbitMQ 4.0 with its management plugin, laid out as the public image is: scripts/stand-in-images.
ARG BASE
FROM ${BASE}
# The ids of the public image; volumes keep them.
RUN groupadd --system --gid 999 rabbitmq \
    && useradd --system --uid 999 --gid 999 --home-dir /var/lib/rabbitmq rabbitmq
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends rabbitmq-server \
    && rm -rf /var/lib/apt/lists/* /var/lib/rabbitmq /var/log/rabbitmq /etc/rabbitmq /usr/sbin/policy-rc.d \
    && install -d -o rabbitmq -g rabbitmq /etc/rabbitmq /etc/rabbitmq/conf.d /var/lib/rabbitmq /var/log/rabbitmq \
    && chmod 1777 /etc/rabbitmq /etc/rabbitmq/conf.d /var/lib/rabbitmq /var/log/rabbitmq \
    && printf '[rabbitmq_management,rabbitmq_prometheus].\n' >/etc/rabbitmq/enabled_plugins \
    && chown rabbitmq:rabbitmq /etc/rabbitmq/enabled_plugins
COPY 10-defaults.conf /etc/rabbitmq/conf.d/
COPY rabbitmq-entrypoint.sh /usr/local/bin/docker-entrypoint.sh
# Not Debian's wrappers: those write to files of their own, and know one user only.
ENV PATH=/usr/lib/rabbitmq/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/rabbitmq \
    RABBITMQ_LOGS=- \
    LANG=C.UTF-8
VOLUME /var/lib/rabbitmq
EXPOSE 4369 5671 5672 15671 15672 15691 15692 25672
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["rabbitmq-server"]
