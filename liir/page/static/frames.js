// The pictures of a video, to the frame: from a <video> where it can be trusted, else from the server.
import { ask } from './api.js';

export class Frames {
  constructor(video, drawn) { this.video = video; this.drawn = drawn; this.index = 0; this.wanted = 0; this.playing = false; }

  open(project) {
    this.project = project; this.clip = project.clip; this.index = this.wanted = 0; this.usable = false; this.failed = false; this.pause();
    this.refresh(project);
  }

  refresh(project) {  // the video for browsers may have come since
    if (this.failed || (this.usable && this.media === project.media) || !project.playable) return;
    this.media = project.media;
    this.video.onloadeddata = () => { this.usable = true; this.show(this.wanted, true); };
    this.video.onerror = () => {
      this.usable = false;
      if (project.media === 'source') ask('POST', `/projects/${project.id}/proxy`, {}).catch(() => {});
      else this.failed = true;
    };
    this.video.src = `/api/projects/${project.id}/media?${project.media}`;
    this.video.load();
  }

  async show(index, again = false) {
    this.wanted = index;
    if (this.busy) return this.busy;
    this.busy = this.run(again).finally(() => { this.busy = null; });
    return this.busy;
  }

  async run(again) {
    let at = again ? -1 : this.index;
    while (at !== this.wanted || !this.source) {
      at = this.wanted;
      const exact = this.usable && await this.seek(at);
      if (!exact) await this.fetch(at);
      this.index = at;
      this.drawn(this.source, at);
    }
  }

  seek(index) {
    return new Promise((done) => {
      const { video } = this;
      let shown = null, sought = false;
      const finish = (right) => { clearTimeout(timer); video.onseeked = null; this.source = video; done(right); };
      const check = () => { if (sought && shown !== null) finish(shown === index); };
      const timer = setTimeout(() => finish(false), 1200);
      const present = (_, meta) => {
        shown = Math.round(meta.mediaTime * this.clip.rate);
        if (shown !== index) video.requestVideoFrameCallback(present);
        check();
      };
      video.requestVideoFrameCallback(present);
      video.onseeked = () => { sought = true; check(); };
      video.currentTime = (index + 0.5) / this.clip.rate;
    });
  }

  async fetch(index) {
    try {
      const answer = await fetch(`/api/projects/${this.project.id}/frames/${index}/picture`);
      if (answer.ok) this.source = await createImageBitmap(await answer.blob());
    } catch { /* the last picture stays */ }
  }

  async play(each, ended) {
    this.playing = true;
    if (this.usable) {
      const { video } = this, turn = this.turn = {};  // one loop at a time
      const step = async (_, meta) => {
        if (!this.playing || this.turn !== turn) return;
        this.index = this.wanted = Math.min(this.clip.length - 1, Math.round(meta.mediaTime * this.clip.rate));
        this.source = video;
        this.drawn(video, this.index);
        const wait = each(this.index);
        if (wait) { video.pause(); await wait; }
        if (!this.playing || this.turn !== turn) return;
        if (this.index >= this.clip.length - 1) { this.pause(); return ended(); }
        video.requestVideoFrameCallback(step);
        if (wait) video.play().catch(() => {});
      };
      if (this.index >= this.clip.length - 1) video.currentTime = 0;
      video.onended = () => { this.pause(); ended(); };
      video.requestVideoFrameCallback(step);
      await video.play().catch(() => { this.playing = false; ended(); });
      return;
    }
    for (let index = this.index + 1; this.playing && index < this.clip.length; index++) {
      const begun = performance.now();
      await this.show(index); await each(index);
      await new Promise((go) => setTimeout(go, Math.max(0, 1000 / this.clip.rate - performance.now() + begun)));
    }
    this.playing = false; ended();
  }

  pause() { this.playing = false; this.video.pause(); }
}
