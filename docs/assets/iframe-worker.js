// SPDX-License-Identifier: Apache-2.0
// The search of the site runs in a worker. Browsers start none for pages that are files, so there a frame
// takes its place: a page that loads the worker's script, with what such a script finds around it.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      this.waiting = []; // until the script is there
      const page = frame.contentDocument;
      const script = page.createElement("script");
      script.src = url;
      script.onload = () => {
        for (const data of this.waiting) this.tell(data);
        this.waiting = null;
      };
      script.onerror = () => this.dispatchEvent(new ErrorEvent("error", { message: `${url} was not loaded` }));
      this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      page.body.append(script);
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.tell(data);
    }

    tell(data) {
      this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data }));
    }

    terminate() {
      this.inside.frameElement.remove();
    }
  };
}
