import { defineConfig, type ViteUserConfig } from 'vitest/config';

const config: ViteUserConfig = defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 180_000,
    hookTimeout: 60_000,
    // Two cores: engines under test start threads of their own.
    maxWorkers: 2,
    // Code that runs in worker threads is not seen, so workers are glue and the logic is in src.
    coverage: { include: ['src/**/*.ts'], reporter: ['text', 'html'] },
  },
});

export default config;
