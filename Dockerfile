FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
RUN npx tsc -b && npm prune --omit=dev --no-audit --no-fund \
  # Other platforms' runtimes are most of the package's size.
  && find node_modules/onnxruntime-node/bin -mindepth 2 -maxdepth 2 -type d ! -name linux -exec rm -rf {} +

FROM node:22-bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
ENV NODE_ENV=production \
  BANKSWITCH_HOST=0.0.0.0 \
  BANKSWITCH_DOMAINS_DIR=/app/domains \
  BANKSWITCH_CACHE_DIR=/var/cache/bankswitch \
  BANKSWITCH_JOBS_DIR=/app/domains/.jobs \
  BANKSWITCH_ADMIN_KEY_FILE=/app/domains/.admin.key \
  BANKSWITCH_KEYS_FILE=/app/domains/.keys.json \
  BANKSWITCH_AUDIT_FILE=/app/domains/.audit.jsonl
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
# Models are read-only to the service; domains are what it writes.
COPY models models
COPY --chown=node:node domains domains
RUN install -d -o node -g node /var/cache/bankswitch
USER node
VOLUME ["/app/domains", "/var/cache/bankswitch"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/usr/bin/tini", "--", "node", "dist/main.js"]
CMD ["serve"]
