# Pinned, so that a build is the same tomorrow; to be raised with Node's and Debian's security releases. Another base:
# --build-arg BASE=…
ARG BASE=node:24.18.0-bookworm-slim@sha256:6f7b03f7c2c8e2e784dcf9295400527b9b1270fd37b7e9a7285cf83b6951452d

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
# The page at /ui is built of it, too.
COPY clients/typescript/src clients/typescript/src
RUN npm run build && rm -r clients && npm prune --omit=dev --no-audit --no-fund
COPY .ci/prune-image.mjs ./
RUN node prune-image.mjs node_modules dist

FROM ${BASE}
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
WORKDIR /app
# The C heap gives back what bodies took that waited for the garbage collector (docs/operations.md).
ENV NODE_ENV=production \
  MALLOC_MMAP_THRESHOLD_=131072 \
  MALLOC_TRIM_THRESHOLD_=131072 \
  BANKSWITCH_HOST=0.0.0.0 \
  BANKSWITCH_STORE=/var/lib/bankswitch/store \
  BANKSWITCH_CACHE_DIR=/var/lib/bankswitch/cache \
  BANKSWITCH_JOBS_DIR=/var/lib/bankswitch/jobs \
  BANKSWITCH_ADMIN_KEY_FILE=/var/lib/bankswitch/admin.key \
  BANKSWITCH_KEYS_FILE=/var/lib/bankswitch/keys.json \
  BANKSWITCH_AUDIT_FILE=/var/lib/bankswitch/audit.jsonl
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
# Models and shipped domains are read-only to the service; all that it writes is in the one volume.
COPY models models
COPY domains domains
RUN install -d -o 1000 -g 1000 /var/lib/bankswitch
# By number: Kubernetes cannot tell of a name whether it is root.
USER 1000:1000
VOLUME /var/lib/bankswitch
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=60s CMD ["node", "dist/main.js", "health"]
ENTRYPOINT ["/usr/bin/tini", "--", "node", "dist/main.js"]
CMD ["serve"]
