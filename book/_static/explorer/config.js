/* From what a reader pastes to a checked UNet configuration: the twin of src/unet_atlas/config.py.
   Every fault is one sentence that names the key and says what to do. Nothing is sent anywhere. */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });

  /** What is wrong with a configuration, in one sentence for the reader. */
  class ConfigError extends Error {}

  const CLASS = "UNet2DConditionModel";
  const MAX_FILE_BYTES = 1_000_000;
  const MAX_CHANNELS = 65_536;
  const MAX_LEVELS = 12;
  const MAX_LAYERS = 64;
  const MAX_BLOCKS = 1_000;
  const MAX_NUMBER = 1e9;
  const CROSS_DOWN = "CrossAttnDownBlock2D";
  const CROSS_UP = "CrossAttnUpBlock2D";

  /** The arguments of diffusers' UNet2DConditionModel with their defaults. */
  const DEFAULTS = {
    sample_size: null, in_channels: 4, out_channels: 4, center_input_sample: false,
    flip_sin_to_cos: true, freq_shift: 0,
    down_block_types: [CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, "DownBlock2D"],
    mid_block_type: "UNetMidBlock2DCrossAttn",
    up_block_types: ["UpBlock2D", CROSS_UP, CROSS_UP, CROSS_UP],
    only_cross_attention: false, block_out_channels: [320, 640, 1280, 1280], layers_per_block: 2,
    downsample_padding: 1, mid_block_scale_factor: 1, dropout: 0, act_fn: "silu",
    norm_num_groups: 32, norm_eps: 1e-5, cross_attention_dim: 1280,
    transformer_layers_per_block: 1, reverse_transformer_layers_per_block: null,
    encoder_hid_dim: null, encoder_hid_dim_type: null, attention_head_dim: 8,
    num_attention_heads: null, dual_cross_attention: false, use_linear_projection: false,
    class_embed_type: null, addition_embed_type: null, addition_time_embed_dim: null,
    num_class_embeds: null, upcast_attention: false, resnet_time_scale_shift: "default",
    resnet_skip_time_act: false, resnet_out_scale_factor: 1, time_embedding_type: "positional",
    time_embedding_dim: null, time_embedding_act_fn: null, timestep_post_act: null,
    time_cond_proj_dim: null, conv_in_kernel: 3, conv_out_kernel: 3,
    projection_class_embeddings_input_dim: null, attention_type: "default",
    class_embeddings_concat: false, mid_block_only_cross_attention: null,
    cross_attention_norm: null, addition_embed_type_num_heads: 64,
  };

  const DOWN = [
    "DownBlock2D", CROSS_DOWN, "SimpleCrossAttnDownBlock2D", "AttnDownBlock2D",
    "ResnetDownsampleBlock2D", "KDownBlock2D", "KCrossAttnDownBlock2D",
  ];
  const UP = [
    "UpBlock2D", CROSS_UP, "SimpleCrossAttnUpBlock2D", "AttnUpBlock2D",
    "ResnetUpsampleBlock2D", "KUpBlock2D", "KCrossAttnUpBlock2D",
  ];
  const ACTIVATIONS = ["silu", "swish", "mish", "gelu", "relu"];
  const WORDS = {
    down_block_types: DOWN,
    mid_block_type: [
      null, "UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn", "UNetMidBlock2D",
    ],
    up_block_types: UP,
    class_embed_type: [null, "timestep", "identity", "projection", "simple_projection"],
    addition_embed_type: [null, "text", "text_image", "text_time", "image", "image_hint"],
    encoder_hid_dim_type: [null, "text_proj", "text_image_proj", "image_proj"],
    time_embedding_type: ["positional", "fourier"],
    attention_type: ["default", "gated", "gated-text-image"],
    resnet_time_scale_shift: ["default", "scale_shift", "ada_group", "spatial"],
    act_fn: ACTIVATIONS,
    time_embedding_act_fn: [null, ...ACTIVATIONS],
    timestep_post_act: [null, ...ACTIVATIONS],
    cross_attention_norm: [null, "layer_norm", "group_norm"],
  };
  const PER_LEVEL = [
    "up_block_types", "block_out_channels", "only_cross_attention", "layers_per_block",
    "cross_attention_dim", "transformer_layers_per_block", "attention_head_dim",
    "reverse_transformer_layers_per_block",
  ];
  /** How deep lists may stand in each other; keys that are not named take no list. */
  const NESTING = {
    ...Object.fromEntries([...PER_LEVEL, "down_block_types", "sample_size"].map((k) => [k, 1])),
    transformer_layers_per_block: 2,
    reverse_transformer_layers_per_block: 2,
  };
  const TOO_DEEP = 1 + Math.max(...Object.values(NESTING));
  /** Largest sensible value; the smallest is 1. */
  const COUNTS = {
    sample_size: 16_384, in_channels: MAX_CHANNELS, out_channels: MAX_CHANNELS,
    block_out_channels: MAX_CHANNELS, layers_per_block: MAX_LAYERS, norm_num_groups: MAX_CHANNELS,
    cross_attention_dim: MAX_CHANNELS, transformer_layers_per_block: MAX_LAYERS,
    reverse_transformer_layers_per_block: MAX_LAYERS, encoder_hid_dim: MAX_CHANNELS,
    attention_head_dim: MAX_CHANNELS, addition_time_embed_dim: MAX_CHANNELS,
    num_class_embeds: 10_000_000, time_embedding_dim: MAX_CHANNELS,
    time_cond_proj_dim: MAX_CHANNELS, conv_in_kernel: 31, conv_out_kernel: 31,
    projection_class_embeddings_input_dim: MAX_CHANNELS,
    addition_embed_type_num_heads: MAX_CHANNELS,
  };
  const ZERO_ALLOWED = ["transformer_layers_per_block", "reverse_transformer_layers_per_block"];
  const FLAGS = [
    "center_input_sample", "flip_sin_to_cos", "only_cross_attention", "dual_cross_attention",
    "use_linear_projection", "upcast_attention", "resnet_skip_time_act",
    "class_embeddings_concat", "mid_block_only_cross_attention",
  ];

  /** A checked configuration from a file's text. */
  function parse(text) {
    if (text.length > MAX_FILE_BYTES) {
      fail("This is more than a megabyte of text; a UNet's config.json has about two kilobytes.");
    }
    if (!text.trim()) fail("There is no text yet; paste a UNet's config.json or choose the file.");
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      fail("This is not valid JSON; copy the whole config.json, from the first { to the last }.");
    }
    if (value === null || typeof value !== "object" || Array.isArray(value)) {
      fail("This JSON is no object; a config.json begins with {.");
    }
    return check(value);
  }

  /** A configuration with defaults filled in, every value checked; keys with _ are dropped. */
  function check(raw) {
    const named = raw._class_name ?? CLASS;
    if (named !== CLASS) {
      fail(`_class_name is ${short(named)}; only ${CLASS} can be shown here: `
        + "take config.json from the folder unet of the pipeline.");
    }
    const given = Object.entries(raw).filter(([key]) => !key.startsWith("_"));
    const unknown = given.map(([key]) => key).filter((key) => !Object.hasOwn(DEFAULTS, key)).sort();
    if (unknown.length) {
      fail(`${short(unknown[0])} is no key of a UNet's configuration; remove it, `
        + "or take config.json from the folder unet.");
    }
    if (!given.length) fail(`There is no key of ${CLASS} in it; take a UNet's config.json.`);
    const config = { ...DEFAULTS, ...Object.fromEntries(given) };
    for (const [key, value] of Object.entries(config)) checkValue(key, value);
    checkShape(config);
    return config;
  }

  function checkValue(key, value) {
    if (nesting(value) > (NESTING[key] ?? 0) && !(key in WORDS)) {
      fail(`${key} is ${short(value)}; it takes `
        + (key in NESTING ? "a list that is neither empty nor nested so." : "one value."));
    }
    if (key in WORDS) checkWords(key, value);
    else if (FLAGS.includes(key)) {
      for (const flag of leaves(value)) {
        if (flag !== null && typeof flag !== "boolean") {
          fail(`${key} is ${short(flag)}; it takes true or false.`);
        }
      }
    } else if (key in COUNTS) checkCounts(key, value);
    else if (value !== null && !(typeof value === "number" && Math.abs(value) <= MAX_NUMBER)) {
      fail(`${key} is ${short(value)}; it takes a number of at most a thousand million.`);
    }
  }

  function checkWords(key, value) {
    const many = key.endsWith("_types");
    if (many && !(Array.isArray(value) && value.length >= 1 && value.length <= MAX_LEVELS)) {
      fail(`${key} is ${short(value)}; it takes a list of 1 to ${MAX_LEVELS} block names.`);
    }
    for (const word of many ? value : [value]) {
      const plain = many && typeof word === "string" ? word.replace(/^UNetRes/, "") : word;
      if (!WORDS[key].includes(plain)) {
        const known = WORDS[key].map((w) => w ?? "null").join(", ");
        fail(`${key} names ${short(word)}; known are ${known}.`);
      }
    }
  }

  function checkCounts(key, value) {
    const least = ZERO_ALLOWED.includes(key) ? 0 : 1;
    const optional = DEFAULTS[key] === null
      || ["norm_num_groups", "attention_head_dim"].includes(key);
    for (const number of leaves(value)) {
      if (number === null && optional) continue;
      if (!Number.isInteger(number) || number < least || number > COUNTS[key]) {
        fail(`${key} is ${short(number)}; it takes whole numbers from ${least} to ${COUNTS[key]}.`);
      }
    }
  }

  function checkShape(config) {
    const levels = config.down_block_types.length;
    for (const key of PER_LEVEL) {
      if (Array.isArray(config[key]) && config[key].length !== levels) {
        const entries = config[key].length === 1 ? "1 entry" : `${config[key].length} entries`;
        fail(`${key} has ${entries} for ${levels} down_block_types; give one a level.`);
      }
    }
    if (!Array.isArray(config.block_out_channels)) {
      fail("block_out_channels takes a list, one number a level.");
    }
    const size = config.sample_size;
    if (Array.isArray(size) && size.length !== 2) {
      fail(`sample_size is ${short(size)}; it takes a height and a width.`);
    }
    if (blocks(config, levels) > MAX_BLOCKS) {
      fail(`transformer_layers_per_block and layers_per_block give over ${MAX_BLOCKS} resnets and `
        + "transformer blocks; lower them.");
    }
  }

  /** Resnets and transformer blocks on the way down and up, if each level has attention. */
  function blocks(config, levels) {
    const most = (value) => perLevel(value, levels).map((v) => Math.max(...leaves(v)));
    const layers = most(config.layers_per_block);
    const down = most(config.transformer_layers_per_block);
    const reverse = config.reverse_transformer_layers_per_block;
    const up = reverse === null ? down.toReversed() : most(reverse);
    const sum = (list) => list.reduce((a, b) => a + b, 0);
    return sum(layers.map((n, i) => n * (1 + down[i])))
      + sum(layers.toReversed().map((n, i) => (n + 1) * (1 + up[i])));
  }

  /** One value a level. */
  function perLevel(value, levels) {
    return Array.isArray(value) ? value : Array(levels).fill(value);
  }

  function leaves(value) {
    return Array.isArray(value) ? value.flatMap(leaves) : [value];
  }

  /** How deep lists stand in each other, counted to the depth that no key takes. */
  function nesting(value, left = TOO_DEEP) {
    if (!Array.isArray(value) || !left) return 0;
    return value.length ? 1 + Math.max(...value.map((v) => nesting(v, left - 1))) : TOO_DEEP;
  }

  /** Only what differs from the defaults: short enough for a link. */
  function compact(config) {
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
    return Object.fromEntries(Object.entries(config).filter(([k, v]) => !same(v, DEFAULTS[k])));
  }

  function short(value) {
    let text = typeof value === "string" ? `'${value}'` : JSON.stringify(value);
    text = text ?? String(value);
    return text.length <= 60 ? text : `${text.slice(0, 57)}…`;
  }

  function fail(sentence) {
    throw new ConfigError(sentence);
  }

  /** All that src/unet_atlas/config.py has too, under the same names; a test compares them. */
  const TABLES = {
    CLASS, MAX_FILE_BYTES, MAX_CHANNELS, MAX_LEVELS, MAX_LAYERS, MAX_BLOCKS, MAX_NUMBER, DEFAULTS,
    WORDS, PER_LEVEL, NESTING, TOO_DEEP, COUNTS, ZERO_ALLOWED, FLAGS,
  };

  UA.config = { parse, check, compact, perLevel, short, fail, ConfigError, DEFAULTS, TABLES };
})();
