/* From a document (exported, or made by formula.js) to what the page shows at one size: places of
   the U, stages, blocks and operations, each with its parameters, MACs, bytes and tokens. */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });
  const SCHEMA = 1;
  const USUAL_FACTOR = 8; // pixels a latent cell of Stable Diffusion
  const { records, scaled, describe, positions, sizeAt, stageOf } = UA.formula;

  /** A model of the catalogue from its exported document; a TypeError, if it is none. */
  function fromDocument(document) {
    if (document?.schema !== SCHEMA) throw new TypeError(`no document of schema ${SCHEMA}`);
    return {
      ...document, measured: true,
      stages: records(document.stages), blocks: records(document.blocks),
      rows: records(document.rows),
    };
  }

  /** The reader's own UNet from a checked configuration, which says nothing of the VAE's factor. */
  function fromConfig(config, name) {
    return {
      id: UA.state.OWN, name, family: "own", factor: null, measured: false, ...describe(config),
    };
  }

  /**
   * A model at a picture size: measured rows scaled, others computed anew. Where the VAE's factor is
   * not known, the size of the picture is none either, and a size that is asked for is taken at the
   * usual factor.
   * @param {number|null} pixels side of the picture, or null for the model's own size
   */
  function sized(model, pixels) {
    const side = pixels / (model.factor ?? USUAL_FACTOR);
    const latent = pixels === null ? model.latent : [side, side];
    const same = latent.every((n, i) => n === model.latent[i]);
    let { rows } = model;
    if (!same) {
      rows = model.measured
        ? scaled(model.rows, model.latent, latent)
        : describe(model.config, latent, model.tokens).rows;
    }
    const total = sum(rows);
    return {
      ...model, latent, rows, total,
      picture: model.factor === null ? null : latent.map((n) => n * model.factor),
      places: places(model, rows, latent, total),
      longest: Math.max(0, ...model.stages.map((s) => tokensOf(s, latent) ?? 0)),
      transformers: model.blocks.reduce((n, b) => n + b.transformer_blocks, 0),
    };
  }

  /** Stages by the place that they take in the U: `stem`, `down-0`, …, `mid`, …, `up-0`, `head`. */
  function places(model, rows, latent, total) {
    const byStage = Map.groupBy(rows, (row) => stageOf(row.path));
    const found = new Map();
    for (const stage of model.stages) {
      const own = byStage.get(stage.key) ?? [];
      found.set(placeOf(stage), {
        stage, rows: own, sum: sum(own), tokens: tokensOf(stage, latent),
        size: stage.level === null ? null : sizeAt(latent, stage.level),
        path: stage.level === null ? null : modulePath(stage.key),
        blocks: blocksOf(model, stage, own, latent), total,
      });
    }
    return found;
  }

  function placeOf(stage) {
    const [side] = stage.key.split(" ");
    return side === "down" || side === "up" ? `${side}-${stage.level}` : side;
  }

  function modulePath(key) {
    const [side, number] = key.split(" ");
    return side === "mid" ? "mid_block" : `${side}_blocks.${number}`;
  }

  /** The blocks of a stage in the order of the forward pass; last, what is done between them. */
  function blocksOf(model, stage, rows, latent) {
    const blocks = model.blocks.filter((b) => b.stage === stage.key);
    const left = new Set(rows);
    const shown = blocks.map((block) => {
      const own = rows.filter((r) => r.path === block.path || r.path.startsWith(`${block.path}.`));
      own.forEach((row) => left.delete(row));
      return {
        ...block, rows: own, sum: sum(own), name: nameIn(block.path),
        tokens: block.heads === null ? null : positions(latent, stage.level ?? 0),
      };
    });
    shown.sort((a, b) => rank(a.name) - rank(b.name));
    const rest = [...left].filter((row) => row.bytes || row.params || row.macs);
    if (rest.length) {
      shown.push({
        path: modulePath(stage.key), name: "between", kind: "", rows: rest, sum: sum(rest),
        channels_in: null, channels_out: null, heads: null, tokens: null, transformer_blocks: 0,
      });
    }
    return shown;
  }

  /** `down_blocks.1.resnets.0` → `resnets.0`. */
  function nameIn(path) {
    return path.replace(/^(?:(?:down|up)_blocks\.\d+|mid_block)\./, "");
  }

  /** Layer by layer: resnet, then attention; the resampler ends the stage. */
  function rank(name) {
    const [kind, number] = name.split(".");
    const step = { resnets: 0, attentions: 1, downsamplers: 1e6, upsamplers: 1e6 }[kind];
    return step === undefined ? 0 : 2 * Number(number) + step;
  }

  function tokensOf(stage, latent) {
    return stage.heads === null ? null : positions(latent, stage.level);
  }

  function sum(rows) {
    const total = { params: 0, macs: 0, bytes: 0 };
    for (const row of rows) {
      for (const key of ["params", "macs"]) total[key] += row.times * row[key];
      total.bytes = row.bytes === null || total.bytes === null ? null
        : total.bytes + row.times * row.bytes;
    }
    return total;
  }

  /** All places that either model has, in pairs from the outside of the U to its bottom. */
  function levelsOf(models) {
    const levels = models.flatMap((m) => m.stages.map((s) => s.level)).filter((n) => n !== null);
    const deepest = Math.max(...levels);
    const rows = [{ title: "in and out", places: ["stem", "head"] }];
    for (let level = 0; level <= deepest; level += 1) {
      rows.push({ title: `level ${level}`, level, places: [`down-${level}`, `up-${level}`] });
    }
    if (models.some((m) => m.places.has("mid"))) rows.push({ title: "middle", places: ["mid"] });
    return rows;
  }

  /** The facts in which two places or blocks differ; everything, where one is missing. */
  function differences(first, second) {
    if (!first || !second) return new Set(["stage"]);
    const [s, t] = [first.stage, second.stage];
    const facts = {
      block: (x) => x.block,
      channels: (x) => x.channels_out,
      channels_in: (x) => x.channels_in,
      layers: (x) => `${x.resnets} ${x.depths}`,
      heads: (x) => `${x.heads} ${x.head_dim}`,
      context: (x) => x.cross_attention_dim,
      projection: (x) => x.projection,
    };
    return new Set(Object.keys(facts).filter((key) => facts[key](s) !== facts[key](t)));
  }

  /** The value of a quantity (params, macs, bytes or tokens) of a place, a block or a model. */
  function value(thing, quantity) {
    if (!thing) return null;
    return quantity === "tokens" ? thing.tokens : thing.sum[quantity];
  }

  UA.model = { USUAL_FACTOR, fromDocument, fromConfig, sized, levelsOf, differences, value, sum };
})();
