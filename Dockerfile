FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
RUN npm run build && npm prune --omit=dev --no-audit --no-fund \
  # Other platforms' runtimes are most of the package's size.
  && find node_modules/onnxruntime-node/bin -mindepth 2 -maxdepth 2 -type d ! -name linux -exec rm -rf {} +

FROM node:24-bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/*
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
RUN install -d -o node -g node /var/lib/bankswitch
USER node
VOLUME /var/lib/bankswitch
EXPOSE 8080
# The certificate is not for this address, so it is not looked at.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "const { BANKSWITCH_PORT: port = 8080, BANKSWITCH_TLS_CERTIFICATE_FILE: tls } = process.env; require(tls ? 'https' : 'http').get({ host: '127.0.0.1', port, path: '/readyz', rejectUnauthorized: false }, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["/usr/bin/tini", "--", "node", "dist/main.js"]
CMD ["serve"]
