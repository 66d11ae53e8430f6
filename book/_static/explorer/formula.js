/* A UNet from its configuration alone: stages, blocks and rows by closed formula, in the schema of
   the exported data (src/unet_atlas/explorer.py). Parameters and MACs agree with the live model to
   the last digit (tests/explorer); so do the bytes, where `bytesKnown` says that they are given. */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });
  const { perLevel, fail } = UA.config;

  const TEXT = "text";
  const ONCE = "once";
  const POINTWISE = "norm, pointwise";
  const EMBEDDING = "embeddings";
  const OTHER_CONV = "other conv";
  const CLASSES = { silu: "SiLU", swish: "SiLU", mish: "Mish", gelu: "GELU", relu: "ReLU" };
  const IMAGE_TOKENS = { text_image_proj: 10, image_proj: 32 };
  const PLAIN_BLOCK = /^(Cross(Attn))?(Down|Up)Block2D$/;
  const HINT_LAYERS = [
    [3, 16, 1, 0], [16, 16, 1, 0], [16, 32, 2, 1], [32, 32, 1, 1], [32, 96, 2, 2], [96, 96, 1, 2],
    [96, 256, 2, 3], [256, 4, 1, 3],
  ];

  /** Height and width at a level: halved, and rounded up, once a level. */
  function sizeAt(latent, level) {
    return latent.map((side) => Math.ceil(side / 2 ** level));
  }

  /** Positions at a level. */
  function positions(latent, level) {
    const [height, width] = sizeAt(latent, level);
    return height * width;
  }

  /** How often a row's layer is applied to a latent of this size. */
  function applied(row, latent, tokens) {
    if (row.at === ONCE) return 1;
    return row.at === TEXT ? tokens : positions(latent, Number(row.at));
  }

  /**
   * Measured rows at another size. Exact for models of the catalogue: each layer works at one level,
   * its MACs and bytes grow with the positions there, self-attention with their square.
   */
  function scaled(rows, before, after) {
    return rows.map((row) => {
      if (row.at === ONCE || row.at === TEXT) return row;
      const old = positions(before, Number(row.at));
      const now = positions(after, Number(row.at));
      const square = row.role === "self-attention" ? now / old : 1;
      return {
        ...row,
        macs: (row.macs / old) * now * square,
        bytes: row.bytes === null ? null : row.fixed + ((row.bytes - row.fixed) / old) * now,
      };
    });
  }

  /**
   * What the exported document holds, from a checked configuration.
   * @param {object} config   every key of UNet2DConditionModel (UNetAtlas.config.check)
   * @param {number[]} latent height and width; by default the configuration's sample_size
   * @param {number} tokens   length of the text
   */
  function describe(config, latent = ownLatent(config), tokens = 77) {
    refuse(config);
    const unet = new Walk(config, latent, tokens);
    unet.walk();
    return {
      config, latent, tokens, stages: unet.stages, blocks: unet.blocks, rows: unet.rows,
      bytesKnown: unet.bytesKnown,
    };
  }

  /** The configuration's own latent; 64 × 64 where it names none. */
  function ownLatent(config) {
    const size = config.sample_size ?? 64;
    return Array.isArray(size) ? size : [size, size];
  }

  /** One sentence for what the formula doesn't cover or diffusers can't build. */
  function refuse(config) {
    const cant = (key, why) => fail(
      `${key} is ${UA.config.short(config[key])}: ${why}; `
      + "the command unet-atlas show counts what this page can't, if diffusers builds it.");
    const kinds = [...config.down_block_types, ...config.up_block_types];
    const known = (kind) => !kind.replace(/^UNetRes/, "").startsWith("K");
    const beyond = "this page has no formula for it";
    for (const key of ["down_block_types", "up_block_types"]) {
      const odd = config[key].find((kind) => !known(kind));
      if (odd) fail(`${key} names '${odd}': ${beyond}; use unet-atlas show for such a UNet.`);
    }
    if (config.dual_cross_attention) cant("dual_cross_attention", beyond);
    if (config.attention_type !== "default") cant("attention_type", beyond);
    if (!["default", "scale_shift"].includes(config.resnet_time_scale_shift)) {
      cant("resnet_time_scale_shift", beyond);
    }
    if (config.downsample_padding !== 1) cant("downsample_padding", "the formula takes 1");
    for (const key of ["conv_in_kernel", "conv_out_kernel"]) {
      if (config[key] % 2 === 0) cant(key, "the formula takes odd kernels");
    }
    if (config.num_attention_heads !== null) {
      cant("num_attention_heads", "diffusers refuses it; name the heads in attention_head_dim");
    }
    if (config.norm_num_groups === null) cant("norm_num_groups", "ResNet blocks need a number");
    if (kinds.some((kind) => /Attn/.test(kind)) || config.mid_block_type) refuseText(config, cant);
    refuseEmbeddings(config);
    refuseWidths(config);
  }

  function refuseText(config, cant) {
    const dims = config.cross_attention_dim;
    if (Array.isArray(dims) && new Set(dims).size > 1) {
      cant("cross_attention_dim", "it differs by level, so no one text fits");
    }
    const depth = config.transformer_layers_per_block;
    const reverse = config.reverse_transformer_layers_per_block;
    if (Array.isArray(depth) && depth.some(Array.isArray) && reverse === null) {
      cant("transformer_layers_per_block",
        "a list a layer needs reverse_transformer_layers_per_block too");
    }
  }

  function refuseEmbeddings(config) {
    const needs = (key, value, other) => {
      if (config[key] === value && config[other] === null) {
        fail(`${key} is '${value}', which needs ${other}; add it.`);
      }
    };
    for (const kind of ["projection", "simple_projection"]) {
      needs("class_embed_type", kind, "projection_class_embeddings_input_dim");
    }
    for (const kind of ["text_proj", "text_image_proj", "image_proj"]) {
      needs("encoder_hid_dim_type", kind, "encoder_hid_dim");
    }
    for (const kind of ["image", "image_hint"]) needs("addition_embed_type", kind, "encoder_hid_dim");
    if (config.addition_embed_type === "text_time") {
      needs("addition_embed_type", "text_time", "addition_time_embed_dim");
      needs("addition_embed_type", "text_time", "projection_class_embeddings_input_dim");
      sizeNumbers(config);
    }
  }

  function refuseWidths(config) {
    const groups = config.norm_num_groups;
    const odd = config.block_out_channels.find((width) => width % groups);
    if (odd) {
      fail(`block_out_channels has ${odd}, which norm_num_groups ${groups} does not divide; `
        + "change one of them.");
    }
  }

  /** How SDXL-like UNets split the added vector: [size and crop numbers, pooled text width]. */
  function sizeNumbers(config) {
    const total = config.projection_class_embeddings_input_dim;
    const each = config.addition_time_embed_dim;
    const fitting = [6, 5, 4, 3, 2, 1].filter((n) => total > n * each);
    if (!fitting.length) {
      fail(`addition_time_embed_dim ${each} leaves no room for a text in a `
        + `projection_class_embeddings_input_dim of ${total}; correct one of them.`);
    }
    const numbers = fitting.slice(0, 2).find((n) => total - n * each === 1280) ?? fitting[0];
    return [numbers, total - numbers * each];
  }

  /** Goes through the network in the order of its modules and writes rows, blocks and stages. */
  class Walk {
    constructor(config, latent, tokens) {
      const levels = config.block_out_channels.length;
      const each = (key) => perLevel(config[key], levels);
      Object.assign(this, { config, latent, tokens, levels, rows: [], blocks: [], stages: [] });
      this.widths = config.block_out_channels;
      this.depth = each("transformer_layers_per_block");
      this.layers = each("layers_per_block");
      this.heads = each("attention_head_dim");
      this.textOnly = each("only_cross_attention");
      this.context = each("cross_attention_dim");
      const reverse = config.reverse_transformer_layers_per_block;
      this.depthUp = reverse === null ? this.depth.toReversed() : perLevel(reverse, levels);
      const factor = config.time_embedding_type === "fourier" ? 2 : 4;
      this.time = config.time_embedding_dim ?? factor * this.widths[0];
      this.blockTime = this.time * (config.class_embeddings_concat ? 2 : 1);
      this.act = CLASSES[config.act_fn];
      this.hid = config.encoder_hid_dim_type ?? (config.encoder_hid_dim === null ? null : "text_proj");
      this.contextTokens = this.hid === "image_proj" ? 32 : tokens + (IMAGE_TOKENS[this.hid] ?? 0);
      this.bytesKnown = this.covers();
    }

    /** Whether the formula for bytes holds: the block types and embeddings of Stable Diffusion. */
    covers() {
      const c = this.config;
      const kinds = [...c.down_block_types, ...c.up_block_types].map((k) => k.replace("UNetRes", ""));
      return kinds.every((kind) => PLAIN_BLOCK.test(kind))
        && c.mid_block_type !== "UNetMidBlock2DSimpleCrossAttn"
        && c.resnet_time_scale_shift === "default"
        && !c.center_input_sample && this.hid === null && c.time_embedding_type === "positional"
        && [null, "projection"].includes(c.class_embed_type) && c.num_class_embeds === null
        && [null, "text_time"].includes(c.addition_embed_type) && c.time_cond_proj_dim === null
        && !c.class_embeddings_concat && c.time_embedding_act_fn === null
        && c.timestep_post_act === null && !this.textOnly.some(Boolean);
    }

    walk() {
      this.stem();
      let width = this.widths[0];
      const skips = [width];
      this.config.down_block_types.forEach((kind, level) => {
        width = this.down(kind, level, width, skips);
      });
      this.config.up_block_types.forEach((kind, i) => {
        width = this.up(kind, i, width, skips);
      });
      if (this.config.mid_block_type) this.mid();
      this.head();
      this.order();
    }

    // --- what every layer writes down ---------------------------------------------------------

    /** `per` and `fixed`: floats written at each position, and once. */
    row(path, kind, role, at, facts) {
      const { params = 0, macs = 0, per = 0, fixed = 0, times = 1 } = facts;
      const n = applied({ at }, this.latent, at === TEXT ? this.contextTokens : this.tokens);
      const moves = at !== ONCE && at !== TEXT;
      const bytes = 4 * (per * n + fixed);
      if (!params && !macs && !(this.bytesKnown && bytes)) return;
      this.rows.push({
        path, kind, role, times, at,
        channels_in: facts.in ?? null, channels_out: facts.out ?? null,
        heads: facts.heads ?? null, head_dim: facts.dim ?? null, context: facts.context ?? null,
        params, macs, bytes: this.bytesKnown ? bytes : null,
        fixed: this.bytesKnown ? (moves ? 4 * fixed : bytes) : null,
      });
    }

    linear(path, role, at, width, out, { bias = true, times = 1, twice = false, n } = {}) {
      n ??= applied({ at }, this.latent, this.contextTokens);
      const params = width * out + (bias ? out : 0);
      const per = out * (twice && n > 1 ? 2 : 1);
      this.row(path, "Linear", role, at,
        { in: width, out, params, macs: n * width * out, per, times });
    }

    conv(path, role, level, width, out, kernel = 3, stride = 1) {
      const n = positions(this.latent, level);
      const cells = kernel * kernel;
      const kind = `Conv2d ${kernel}×${kernel}${stride > 1 ? `, stride ${stride}` : ""}`;
      this.row(path, kind, role, String(level), {
        in: width, out, params: width * out * cells + out, macs: n * width * out * cells, per: out,
      });
    }

    groupNorm(path, at, width, role = POINTWISE) {
      const fixed = 2 * this.config.norm_num_groups;
      this.row(path, "GroupNorm", role, String(at),
        { in: width, out: width, params: 2 * width, per: width, fixed });
    }

    layerNorm(path, at, width, times = 1, role = POINTWISE) {
      this.row(path, "LayerNorm", role, String(at),
        { in: width, out: width, params: 2 * width, per: width + 2, times });
    }

    // --- the parts of a stage -------------------------------------------------------------------

    /** norm, conv, time, norm, conv, and a 1 × 1 shortcut where the width changes. */
    resnet(path, level, width, out, resample = 0) {
      const scale = this.config.resnet_time_scale_shift === "scale_shift" ? 2 : 1;
      const after = level + (resample > 0) - (resample < 0);
      if (width % this.config.norm_num_groups) {
        fail(`block_out_channels makes ${path} ${width} channels wide, which norm_num_groups `
          + `${this.config.norm_num_groups} does not divide; change one of them.`);
      }
      this.groupNorm(`${path}.norm1`, level, width);
      this.conv(`${path}.conv1`, "res conv", after, width, out);
      this.linear(`${path}.time_emb_proj`, EMBEDDING, ONCE, this.blockTime, scale * out);
      this.groupNorm(`${path}.norm2`, after, out);
      this.conv(`${path}.conv2`, "res conv", after, out, out);
      const twice = this.config.resnet_skip_time_act ? 0 : this.blockTime;
      this.row(`${path}.nonlinearity`, this.act, POINTWISE, String(level),
        { per: width + out, fixed: twice });
      if (width !== out) this.conv(`${path}.conv_shortcut`, "res conv", after, width, out, 1);
      this.row(path, "ResnetBlock2D", POINTWISE, String(level), { per: 3 * out });
      this.block(path, "ResnetBlock2D", width, out);
    }

    /** norm, projection in, `depth` blocks, projection out. */
    transformer(path, level, width, depth, textOnly) {
      const heads = this.headsAt(level, path);
      const dim = Math.floor(width / heads);
      if (!dim) {
        fail(`attention_head_dim gives ${heads} heads to ${width} channels at level ${level}; `
          + "it is the number of heads, so lower it.");
      }
      const inner = heads * dim;
      const at = String(level);
      // The way in reads the picture's layout, channels first: product and bias are two kernels.
      const project = (name, from, to) => (this.config.use_linear_projection
        ? this.linear(`${path}.${name}`, "proj in/out", at, from, to, { twice: name === "proj_in" })
        : this.conv(`${path}.${name}`, "proj in/out", level, from, to, 1));
      this.groupNorm(`${path}.norm`, level, width);
      project("proj_in", width, inner);
      if (depth) {
        const place = `${path}.transformer_blocks.${depth > 1 ? `0–${depth - 1}` : "0"}`;
        this.transformerBlock(place, at, level, inner, heads, dim, depth, textOnly);
      }
      project("proj_out", inner, width);
      // Tokens are turned back into a picture after a linear way out, before a convolution.
      const turned = this.config.use_linear_projection ? width : depth && inner;
      const copied = positions(this.latent, level) > 1 ? turned : 0;
      this.row(path, "Transformer2DModel", POINTWISE, at, { per: copied + width });
      this.block(path, "Transformer2DModel", width, width,
        depth ? [heads, dim, this.context[level]] : [], depth);
    }

    transformerBlock(path, at, level, inner, heads, dim, times, textOnly) {
      const context = this.context[level];
      const facts = { heads, dim, inner, times, at };
      this.layerNorm(`${path}.norm1`, at, inner, times);
      this.attention(`${path}.attn1`, { ...facts, context: textOnly ? context : null });
      this.layerNorm(`${path}.norm2`, at, inner, times);
      this.attention(`${path}.attn2`, { ...facts, context });
      this.layerNorm(`${path}.norm3`, at, inner, times);
      this.linear(`${path}.ff.net.0.proj`, "feed-forward", at, inner, 8 * inner, { times });
      this.row(`${path}.ff.net.0`, "GEGLU", POINTWISE, at, { per: 8 * inner, times });
      this.linear(`${path}.ff.net.2`, "feed-forward", at, 4 * inner, inner, { times });
      this.row(path, "BasicTransformerBlock", POINTWISE, at, { per: 3 * inner, times });
    }

    /** Q, K, V without bias, the products, the projection out. */
    attention(path, { heads, dim, inner, times, at, context }) {
      const op = "qkv/out proj";
      const from = context ?? inner;
      const place = context === null ? at : TEXT;
      const n = positions(this.latent, Number(at));
      const keys = context === null ? n : this.contextTokens;
      const role = context === null ? "self-attention" : "cross-attention";
      this.linear(`${path}.to_q`, op, at, inner, inner, { bias: false, times });
      this.linear(`${path}.to_k`, op, place, from, inner, { bias: false, times });
      this.linear(`${path}.to_v`, op, place, from, inner, { bias: false, times });
      this.row(path, "Attention", role, at, {
        in: inner, out: inner, heads, dim, context, macs: 2 * n * keys * inner, per: 2 * inner, times,
      });
      this.linear(`${path}.to_out.0`, op, at, inner, inner, { times });
    }

    /** An attention layer without a transformer around it: AttnDownBlock2D and its twin. */
    bareAttention(path, level, width) {
      const dim = this.heads[level] ?? width;
      const heads = Math.floor(width / dim);
      if (!heads) {
        fail(`attention_head_dim ${dim} is wider than the ${width} channels of level ${level}; `
          + "lower it.");
      }
      const inner = heads * dim;
      const [op, at, n] = ["qkv/out proj", String(level), positions(this.latent, level)];
      this.groupNorm(`${path}.group_norm`, level, width);
      for (const name of ["to_q", "to_k", "to_v"]) {
        this.linear(`${path}.${name}`, op, at, width, inner);
      }
      this.row(path, "Attention", "self-attention", at,
        { in: width, out: width, heads, dim, macs: 2 * n * n * inner });
      this.linear(`${path}.to_out.0`, op, at, inner, width);
      this.block(path, "Attention", width, width, [heads, dim, null]);
    }

    /** Keys and values of the text beside those of the picture: DeepFloyd IF, Kandinsky. */
    addedAttention(path, level, width, textOnly) {
      const dim = this.heads[level] ?? width;
      const heads = Math.floor(width / dim);
      const context = this.context[level];
      const norm = this.config.cross_attention_norm;
      if (heads * dim !== width) {
        fail(`attention_head_dim ${dim} does not divide the ${width} channels of level ${level}; `
          + "change one of them.");
      }
      if (norm === "layer_norm" && context !== width) {
        fail(`cross_attention_norm is 'layer_norm', which diffusers gives the picture's width: `
          + `set cross_attention_dim to ${width}, or take the norm away.`);
      }
      if (norm === "group_norm" && context % 32) {
        fail("cross_attention_norm is 'group_norm' with 32 groups, which do not divide "
          + `cross_attention_dim ${context}; change one of them.`);
      }
      const [op, at, n] = ["qkv/out proj", String(level), positions(this.latent, level)];
      this.groupNorm(`${path}.group_norm`, level, width);
      const kind = norm === "layer_norm" ? "LayerNorm" : "GroupNorm";
      if (norm) {
        this.row(`${path}.norm_cross`, kind, POINTWISE, TEXT,
          { in: context, out: context, params: 2 * context });
      }
      this.linear(`${path}.to_q`, op, at, width, width);
      for (const name of textOnly ? [] : ["to_k", "to_v"]) {
        this.linear(`${path}.${name}`, op, at, width, width);
      }
      for (const name of ["add_k_proj", "add_v_proj"]) {
        this.linear(`${path}.${name}`, op, TEXT, context, width);
      }
      const keys = this.contextTokens + (textOnly ? 0 : n);
      this.row(path, "Attention", textOnly ? "cross-attention" : "self-attention", at,
        { in: width, out: width, heads, dim, context, macs: 2 * n * keys * width });
      this.linear(`${path}.to_out.0`, op, at, width, width);
      this.block(path, "Attention", width, width, [heads, dim, context]);
    }

    headsAt(level, path) {
      const heads = this.heads[level];
      if (heads === null) {
        fail(`attention_head_dim is null at level ${level}, where ${path} needs a number of heads; `
          + "give one.");
      }
      return heads;
    }

    // --- stages ---------------------------------------------------------------------------------

    stem() {
      const c = this.config;
      const first = this.widths[0];
      this.conv("conv_in", OTHER_CONV, 0, c.in_channels, first, c.conv_in_kernel);
      this.block("conv_in", "Conv2d", c.in_channels, first);
      this.timesteps(first);
      const fourier = c.time_embedding_type === "fourier";
      this.embedding("time_embedding", fourier ? this.time : first, this.act, c.timestep_post_act,
        c.time_cond_proj_dim);
      this.textProjection();
      this.classEmbedding(first);
      this.addedEmbedding();
      const n = c.class_embed_type === "projection" ? this.time : 0;
      const more = c.addition_embed_type === "text_time"
        ? this.time + c.projection_class_embeddings_input_dim : 0;
      this.rest = n + more;
    }

    timesteps(width) {
      if (this.config.time_embedding_type === "fourier") {
        if (this.time % 2) fail("time_embedding_dim is odd; fourier takes an even number.");
        this.row("time_proj", "GaussianFourierProjection", EMBEDDING, ONCE,
          { params: this.time / 2 });
        this.block("time_proj", "GaussianFourierProjection", null, null);
        return;
      }
      this.sinusoids("time_proj", width, 1);
    }

    sinusoids(path, width, n) {
      const each = this.config.flip_sin_to_cos ? 8 : 6;
      this.row(path, "Timesteps", EMBEDDING, ONCE,
        { fixed: (4 + each * n) * Math.floor(width / 2) });
    }

    /** Two linear layers with an activation between. */
    embedding(path, width, act = "SiLU", post = null, cond = null) {
      this.linear(`${path}.linear_1`, EMBEDDING, ONCE, width, this.time);
      if (cond) this.linear(`${path}.cond_proj`, EMBEDDING, ONCE, cond, width, { bias: false });
      this.row(`${path}.act`, act, EMBEDDING, ONCE, { per: this.time });
      this.linear(`${path}.linear_2`, EMBEDDING, ONCE, this.time, this.time);
      if (post) this.row(`${path}.post_act`, CLASSES[post], EMBEDDING, ONCE, { per: this.time });
      this.block(path, "TimestepEmbedding", width, this.time);
    }

    textProjection() {
      const [path, from, to] = ["encoder_hid_proj", this.config.encoder_hid_dim, this.context[0]];
      if (this.hid === "text_proj") {
        this.linear(path, EMBEDDING, TEXT, from, to, { n: this.tokens });
        this.block(path, "Linear", from, to);
      } else if (this.hid === "text_image_proj") {
        this.linear(`${path}.image_embeds`, EMBEDDING, ONCE, to, 10 * to);
        this.linear(`${path}.text_proj`, EMBEDDING, TEXT, from, to, { n: this.tokens });
        this.block(path, "TextImageProjection", to, to);
      } else if (this.hid === "image_proj") {
        this.linear(`${path}.image_embeds`, EMBEDDING, ONCE, from, 32 * to);
        this.row(`${path}.norm`, "LayerNorm", POINTWISE, TEXT, { in: to, out: to, params: 2 * to });
        this.block(path, "ImageProjection", from, 32 * to);
      }
    }

    classEmbedding(first) {
      const c = this.config;
      const [path, width] = ["class_embedding", c.projection_class_embeddings_input_dim];
      if (c.class_embed_type === null && c.num_class_embeds !== null) {
        this.row(path, "Embedding", EMBEDDING, ONCE,
          { in: c.num_class_embeds, out: this.time, params: c.num_class_embeds * this.time });
        this.block(path, "Embedding", null, null);
      } else if (c.class_embed_type === "timestep") {
        this.embedding(path, c.time_embedding_type === "fourier" ? this.time : first, this.act);
      } else if (c.class_embed_type === "projection") {
        this.embedding(path, width);
      } else if (c.class_embed_type === "simple_projection") {
        this.linear(path, EMBEDDING, ONCE, width, this.time);
        this.block(path, "Linear", width, this.time);
      }
    }

    addedEmbedding() {
      const c = this.config;
      const [path, kind, text] = ["add_embedding", c.addition_embed_type, this.context[0]];
      const norm = (name, width, at = ONCE) => this.row(`${path}.${name}`, "LayerNorm", POINTWISE,
        at, { in: width, out: width, params: 2 * width });
      if (kind === "text_time") {
        const [numbers] = sizeNumbers(c);
        this.sinusoids("add_time_proj", c.addition_time_embed_dim, numbers);
        this.embedding(path, c.projection_class_embeddings_input_dim);
      } else if (kind === "text") {
        this.pooledText(path, c.encoder_hid_dim ?? text, norm);
      } else if (kind === "text_image") {
        this.linear(`${path}.text_proj`, EMBEDDING, ONCE, text, this.time);
        norm("text_norm", this.time);
        this.linear(`${path}.image_proj`, EMBEDDING, ONCE, text, this.time);
        this.block(path, "TextImageTimeEmbedding", text, this.time);
      } else if (kind === "image" || kind === "image_hint") {
        this.linear(`${path}.image_proj`, EMBEDDING, ONCE, c.encoder_hid_dim, this.time);
        norm("image_norm", this.time);
        if (kind === "image_hint") this.hint(`${path}.input_hint_block`);
        const name = kind === "image" ? "ImageTimeEmbedding" : "ImageHintTimeEmbedding";
        this.block(path, name, c.encoder_hid_dim, this.time);
      }
    }

    /** Attention of one mean token over the text: DeepFloyd IF. */
    pooledText(path, width, norm) {
      const heads = this.config.addition_embed_type_num_heads;
      if (width % heads) {
        fail(`addition_embed_type_num_heads ${heads} does not divide the text's ${width} channels; `
          + "change one of them.");
      }
      const keys = this.tokens + 1;
      norm("norm1", width, TEXT);
      for (const name of ["k_proj", "q_proj", "v_proj"]) {
        const [at, n] = name === "q_proj" ? [ONCE, 1] : [TEXT, keys];
        this.linear(`${path}.pool.${name}`, EMBEDDING, at, width, width, { n });
      }
      this.row(`${path}.pool`, "AttentionPooling", EMBEDDING, ONCE,
        { params: width, macs: 2 * keys * width });
      this.linear(`${path}.proj`, EMBEDDING, ONCE, width, this.time);
      norm("norm2", this.time);
      this.block(path, "TextTimeEmbedding", width, this.time);
    }

    /** The little network for Kandinsky's hint, which is as large as the picture. */
    hint(path) {
      const picture = this.latent.map((side) => 8 * side);
      HINT_LAYERS.forEach(([width, out, stride, level], i) => {
        const n = positions(picture, level);
        const kind = `Conv2d 3×3${stride > 1 ? ", stride 2" : ""}`;
        this.row(`${path}.${2 * i}`, kind, OTHER_CONV, level === 3 ? "0" : ONCE, {
          in: width, out, params: 9 * width * out + out, macs: 9 * n * width * out,
        });
      });
    }

    attentions(kind, prefix, level, depth, count) {
      for (let j = 0; j < count; j += 1) {
        const path = `${prefix}.attentions.${j}`;
        const width = this.widths[level];
        if (kind.startsWith("CrossAttn")) {
          const each = Array.isArray(depth) ? depth[j] : depth;
          if (each === undefined) {
            fail(`transformer_layers_per_block has no entry for ${path}; give one a layer.`);
          }
          this.transformer(path, level, width, each, this.textOnly[level]);
        } else if (kind.startsWith("SimpleCrossAttn")) {
          this.addedAttention(path, level, width, this.textOnly[level]);
        } else if (kind.startsWith("Attn")) {
          this.bareAttention(path, level, width);
        }
      }
    }

    down(named, level, width, skips) {
      const kind = named.replace(/^UNetRes/, "");
      const prefix = `down_blocks.${level}`;
      const out = this.widths[level];
      const count = this.layers[level];
      const start = this.blocks.length;
      this.attentions(kind, prefix, level, this.depth[level], count);
      for (let j = 0; j < count; j += 1) {
        this.resnet(`${prefix}.resnets.${j}`, level, j ? out : width, out);
        skips.push(out);
      }
      if (level < this.levels - 1) {
        this.resample("down", kind, prefix, level, out);
        skips.push(out);
      }
      this.stage(`down ${level}`, kind, level, width, out, count, start,
        level < this.levels - 1 ? "down" : null);
      return out;
    }

    up(named, i, before, skips) {
      const kind = named.replace(/^UNetRes/, "");
      const level = this.levels - 1 - i;
      const prefix = `up_blocks.${i}`;
      const out = this.widths[level];
      const count = this.layers[level] + 1;
      const start = this.blocks.length;
      const widths = [];
      for (let j = 0; j < count; j += 1) widths.push((j ? out : before) + skips.pop());
      this.attentions(kind, prefix, level, this.depthUp[i], count);
      widths.forEach((width, j) => this.resnet(`${prefix}.resnets.${j}`, level, width, out));
      if (level) this.resample("up", kind, prefix, level, out);
      const joined = widths.reduce((a, b) => a + b, 0);
      this.row(prefix, kind, POINTWISE, String(level), { per: joined });
      this.stage(`up ${i}`, kind, level, widths[0], out, count, start, level ? "up" : null);
      return out;
    }

    resample(way, kind, prefix, level, width) {
      const path = `${prefix}.${way}samplers.0`;
      const target = way === "down" ? level + 1 : level - 1;
      if (/^(Resnet|Simple)/.test(kind)) {
        this.resnet(path, level, width, width, way === "down" ? 1 : -1);
        return;
      }
      this.conv(`${path}.conv`, OTHER_CONV, target, width, width, 3, way === "down" ? 2 : 1);
      if (way === "up") {
        this.row(path, "Upsample2D", POINTWISE, String(target), { per: width });
      }
      this.block(path, way === "down" ? "Downsample2D" : "Upsample2D", width, width);
    }

    mid() {
      const kind = this.config.mid_block_type;
      const level = this.levels - 1;
      const width = this.widths[level];
      const start = this.blocks.length;
      const deepest = this.depth[level];
      const path = "mid_block.attentions.0";
      if (kind === "UNetMidBlock2DCrossAttn") {
        const depth = Array.isArray(deepest) ? deepest[0] : deepest;
        this.transformer(path, level, width, depth, false);
      } else if (kind === "UNetMidBlock2DSimpleCrossAttn") {
        const both = this.config.only_cross_attention;
        const textOnly = this.config.mid_block_only_cross_attention
          ?? (typeof both === "boolean" ? both : false);
        this.addedAttention(path, level, width, textOnly);
      }
      const count = kind === "UNetMidBlock2D" ? 1 : 2;
      for (let j = 0; j < count; j += 1) {
        this.resnet(`mid_block.resnets.${j}`, level, width, width);
      }
      this.stage("mid", kind, level, width, width, count, start, null);
    }

    head() {
      const c = this.config;
      const width = this.widths[0];
      const start = this.blocks.length;
      this.groupNorm("conv_norm_out", 0, width);
      this.block("conv_norm_out", "GroupNorm", width, width);
      this.row("conv_act", this.act, POINTWISE, "0", { per: width });
      this.conv("conv_out", OTHER_CONV, 0, width, c.out_channels, c.conv_out_kernel);
      this.block("conv_out", "Conv2d", width, c.out_channels);
      this.row("", "UNet2DConditionModel", POINTWISE, ONCE, { fixed: this.rest });
      this.facts("head", "norm, convolution out", null, width, c.out_channels, start);
    }

    // --- sums -----------------------------------------------------------------------------------

    block(path, kind, width, out, [heads, dim, context] = [], depth = 0) {
      const own = this.rows.filter((row) => row.path === path || row.path.startsWith(`${path}.`));
      this.blocks.push({
        stage: stageOf(path), path, kind, channels_in: width, channels_out: out,
        transformer_blocks: depth, heads: heads ?? null, head_dim: dim ?? null,
        cross_attention_dim: context ?? null,
        params: own.reduce((sum, row) => sum + row.times * row.params, 0),
      });
    }

    stage(key, kind, level, width, out, resnets, start, resampler) {
      const own = this.blocks.slice(start);
      const attention = own.filter((b) => b.path.includes(".attentions."));
      const first = attention.find((b) => b.heads !== null);
      const wrapped = attention.some((b) => b.kind === "Transformer2DModel");
      this.facts(key, kind, level, width, out, start, {
        resnets, depths: attention.map((b) => b.transformer_blocks),
        heads: first?.heads ?? null, head_dim: first?.head_dim ?? null,
        cross_attention_dim: attention.find((b) => b.cross_attention_dim)?.cross_attention_dim ?? null,
        projection: wrapped ? (this.config.use_linear_projection ? "linear" : "conv") : null,
        resampler,
      });
    }

    facts(key, block, level, width, out, start, more = {}) {
      this.stages.push({
        key, block, level, channels_in: width, channels_out: out, resnets: 0, depths: [],
        heads: null, head_dim: null, cross_attention_dim: null, projection: null, resampler: null,
        ...more,
        params: this.blocks.slice(start).reduce((sum, b) => sum + b.params, 0),
      });
    }

    /** Stages in the order of the forward pass, with the stem in front. */
    order() {
      const c = this.config;
      const end = this.blocks.findIndex((b) => b.stage !== "stem");
      const stem = this.blocks.slice(0, end).reduce((sum, b) => sum + b.params, 0);
      const ways = (name) => this.stages.filter((s) => s.key.startsWith(name));
      const parts = [ways("down"), ways("mid"), ways("up"), ways("head")].flat();
      this.stages = [];
      this.facts("stem", "convolution in, embeddings", null, c.in_channels, this.widths[0], end, {});
      this.stages[0].params = stem;
      this.stages.push(...parts);
    }
  }

  /** `down_blocks.1.…` → `down 1`. */
  function stageOf(path) {
    const [first, number] = path.split(".");
    if (first === "down_blocks" || first === "up_blocks") return `${first.split("_")[0]} ${number}`;
    if (first === "mid_block") return "mid";
    return ["conv_norm_out", "conv_act", "conv_out"].includes(first) ? "head" : "stem";
  }

  /** A table of the exported data as a list of objects. */
  function records({ columns, values }) {
    return values.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));
  }

  UA.formula = { describe, scaled, records, sizeAt, positions, stageOf };
})();
