/* What is shown and what is asked for, kept apart: of several choices that wait for their data the
   last wins, in whatever order the answers come, and one that fails changes nothing. */
(() => {
  "use strict";
  const UA = (globalThis.UNetAtlas ??= { data: {} });

  /**
   * The reader's choices, one turn each.
   * @param {object} start  what is wanted before anything was chosen
   * @param {(wanted: object) => Promise<object>} load  what a state needs in order to be shown
   */
  function turns(start, load) {
    let shown = null;
    let asked = {};
    let last = 0;
    const wanted = () => ({ ...start, ...shown, ...asked });

    /** Ask for a change: its {loaded}, or {error} with the choices that are {lost}, or {overtaken}. */
    async function ask(change) {
      asked = { ...asked, ...change };
      last += 1;
      const turn = last;
      let loaded;
      try {
        loaded = await load(wanted());
      } catch (error) {
        if (turn !== last) return { overtaken: true };
        const lost = asked;
        asked = {};
        return { error, lost };
      }
      if (turn !== last) return { overtaken: true };
      shown = wanted();
      asked = {};
      return { loaded };
    }

    /** Change something of what is shown that needs no data. */
    function adjust(change) {
      shown = { ...shown, ...change };
    }

    return { ask, adjust, wanted, shown: () => shown };
  }

  UA.turns = turns;
})();
