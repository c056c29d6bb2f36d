// Making, changing and deleting a campaign.

const $ = (id) => document.getElementById(id);

/** Cents of what people write: `1200`, `1,200.50`, `1200,5`. NaN where it is none. */
export function cents(text) {
  const plain = text.trim().replace(/[€\s]/g, '').replace(/[.,](?=\d{3}(\D|$))/g, '').replace(',', '.');
  return /^\d+(\.\d{1,2})?$/.test(plain) ? Math.round(Number(plain) * 100) : Number.NaN;
}

/** A dialog whose form is sent by `submit`, and stays open with the reason where that fails. */
class Dialog {
  constructor(id, submit) {
    this.node = $(id);
    this.form = $(`${id}-form`);
    this.form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const button = this.form.querySelector('.actions :is(.primary, .danger)');
      button.disabled = true;
      try {
        if (await submit()) this.node.close();
      } catch (error) {
        this.failed(error);
      } finally {
        button.disabled = false;
      }
    });
    this.form.querySelector('[data-close]').addEventListener('click', () => this.node.close());
  }

  failed(error) {
    $(`${this.node.id}-error`).textContent = error.message;
  }
}

export class Editor extends Dialog {
  #send;
  #done;
  #campaign = null;
  #newer = null;

  /** `send` makes a request of the session, `done` is told what was said and which campaign it is. */
  constructor(send, done) {
    super('editor', () => this.#save());
    this.#send = send;
    this.#done = done;
    $('editor-reload').addEventListener('click', () => this.open(this.#newer));
  }

  /** Opens it for a campaign, or for a new one. */
  open(campaign = null) {
    this.#campaign = campaign;
    this.#newer = null;
    $('editor-title').textContent = campaign ? 'Change the campaign' : 'New campaign';
    $('editor-changed').hidden = true;
    this.#clear();
    const { name, channel, status, budget } = this.form.elements;
    name.value = campaign?.name ?? '';
    channel.value = campaign?.channel ?? 'email';
    status.value = campaign?.status ?? 'draft';
    budget.value = campaign ? String(campaign.budget_cents / 100) : '';
    if (!this.node.open) this.node.showModal();
    name.focus();
  }

  /** Somebody else has changed a campaign: if it is this one, it is said. */
  changed(campaign) {
    const { id } = this.#campaign ?? {};
    if (!this.node.open || !id || id !== campaign.id) return;
    this.#newer = { ...this.#campaign, ...campaign };
    $('editor-changed').hidden = false;
  }

  #clear() {
    for (const node of this.form.querySelectorAll('.problem')) node.textContent = '';
    for (const field of this.form.elements) field.removeAttribute('aria-invalid');
  }

  #fault(field, message) {
    const input = this.form.elements[field];
    input.setAttribute('aria-invalid', 'true');
    $(`error-${field}`).textContent = message;
    this.form.querySelector('[aria-invalid]').focus();
  }

  async #save() {
    this.#clear();
    const { name, channel, status, budget } = this.form.elements;
    const budgetCents = cents(budget.value);
    if (!name.value.trim()) this.#fault('name', 'Say what it is called.');
    if (Number.isNaN(budgetCents)) this.#fault('budget', 'An amount like 1200 or 1200.50.');
    if (this.form.querySelector('[aria-invalid]')) return false;
    const body = { name: name.value, channel: channel.value, status: status.value, budget_cents: budgetCents };
    const was = this.#campaign;
    // So that the event of this very change is not taken for somebody else's.
    this.#campaign = null;
    try {
      const path = was ? `/api/v1/campaigns/${was.id}` : '/api/v1/campaigns';
      const { body: now } = await this.#send(was ? 'PUT' : 'POST', path, body);
      this.#done(was ? `Changed ${now.name}.` : `Made ${now.name}.`, now.id);
    } catch (error) {
      this.#campaign = was;
      throw error;
    }
    return true;
  }

  failed(error) {
    const shown = { name: 'name', budget_cents: 'budget' };
    const rest = (error.errors ?? []).filter(({ field, message }) => {
      if (shown[field]) this.#fault(shown[field], message);
      return !shown[field];
    });
    if (rest.length || !error.errors?.length) super.failed(error);
  }
}

export class Remover extends Dialog {
  #campaign = null;

  constructor(send, done) {
    super('remover', async () => {
      const { id, name } = this.#campaign;
      try {
        await send('DELETE', `/api/v1/campaigns/${id}`);
      } catch (error) {
        // Somebody was faster: it is gone, which is what was wanted.
        if (error.status !== 404) throw error;
      }
      done(`Deleted ${name}.`, id);
      $('campaigns').focus({ preventScroll: true });
      return true;
    });
  }

  open(campaign) {
    this.#campaign = campaign;
    $('remover-name').textContent = campaign.name;
    $('remover-error').textContent = '';
    this.node.showModal();
  }
}
