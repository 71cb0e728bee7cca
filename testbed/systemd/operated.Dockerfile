# A host as an operator has it before the supervisor comes: systemd, make and Python, and a model server's program.
# Packages come from /wheels from here on, as from a mirror: it has no network.
ARG BASE
FROM ${BASE}
COPY runtime.txt build.txt served.txt /tmp/locks/
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libgomp1 make man-db \
    && rm -rf /var/lib/apt/lists/* \
    && userdel benchai-supervisor && rm /etc/polkit-1/rules.d/50-benchai-supervisor.rules
RUN python3 -m venv /opt/served && cd /tmp/locks \
    && for lock in runtime build served; do /opt/served/bin/pip download -q -d /wheels -r $lock.txt; done \
    && for lock in runtime served; do /opt/served/bin/pip install -q --no-index --find-links /wheels -r $lock.txt; done \
    && printf '[global]\nno-index = true\nfind-links = /wheels\n' > /etc/pip.conf
