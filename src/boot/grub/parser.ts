/**
 * Parses a GRUB script into statements, one at a time (GNU GRUB 2.06 manual §6.2). Main thread.
 *
 * As strict as GRUB: an empty block or a doubled `;` is a mistake. As forgiving too: a mistake costs its statement, and
 * reading goes on with the next line. Nesting is limited, so that neither this recursion nor the interpreter's can be
 * driven deep by a hostile file.
 */
import { type Budget, grubLimits } from './budget.js';
import { Lexer, type Token } from './lexer.js';
import {
  type CommandNode,
  type ForNode,
  type IfNode,
  type Node,
  reservedWords,
  type Statement,
  type Word,
} from './syntax.js';

/** Thrown inside this file only; `next` turns it into an `error` statement. */
class SyntaxProblem {
  readonly message: string;
  readonly line: number;
  constructor(message: string, line: number) {
    this.message = message;
    this.line = line;
  }
}

export class Parser {
  readonly #lexer: Lexer;
  readonly #budget: Budget;
  #token: Token;
  #depth = 0;
  /** Words of the statement that is being read. */
  #size = 0;

  constructor(text: string, budget: Budget) {
    budget.parsed(text.length);
    this.#lexer = new Lexer(text);
    this.#budget = budget;
    this.#token = this.#lexer.next();
  }

  /** The next statement of the file; undefined at its end. */
  next(): Statement | undefined {
    this.#size = 0;
    try {
      this.#newlines();
      if (this.#atEnd()) return undefined;
      const statement = this.#isWord('function') ? this.#function() : this.#command();
      if (!this.#atEnd()) this.#delimiter();
      return statement;
    } catch (problem) {
      if (!(problem instanceof SyntaxProblem)) throw problem;
      this.#depth = 0;
      // A newline token was already taken from the text: the line after it is the current one.
      if (this.#token.kind !== 'newline') this.#lexer.skipLine();
      this.#advance();
      return { kind: 'error', message: problem.message, line: problem.line };
    }
  }

  #advance(): void {
    this.#token = this.#lexer.next();
  }

  #fail(expected: string): never {
    const token = this.#token;
    if (token.kind === 'bad') throw new SyntaxProblem(token.message, token.line);
    const found =
      token.kind === 'word' ? (token.name ?? 'a word') : token.kind === 'end' ? 'the end of the file' : token.kind;
    throw new SyntaxProblem(`expected ${expected}, found ${found}`, token.line);
  }

  #atEnd(): boolean {
    return this.#token.kind === 'end';
  }

  #isWord(name: string): boolean {
    return this.#token.kind === 'word' && this.#token.name === name;
  }

  #expectWord(name: string): void {
    if (!this.#isWord(name)) this.#fail(`'${name}'`);
    this.#advance();
  }

  #expect(kind: '{' | '}'): void {
    if (this.#token.kind !== kind) this.#fail(`'${kind}'`);
    this.#advance();
  }

  #newlines(): void {
    while (this.#token.kind === 'newline') this.#advance();
  }

  /** `;` or a newline, and any newlines after it. False if there is none. */
  #tryDelimiter(): boolean {
    if (this.#token.kind !== ';' && this.#token.kind !== 'newline') return false;
    this.#advance();
    this.#newlines();
    return true;
  }

  #delimiter(): void {
    if (!this.#tryDelimiter()) this.#fail("';' or a new line");
  }

  #nested<T>(parse: () => T): T {
    if (++this.#depth > grubLimits.depth) throw this.#budget.exceeded(`nests deeper than ${grubLimits.depth} blocks`);
    const result = parse();
    this.#depth--;
    return result;
  }

  /** True where a command begins: a word that is not reserved, or a compound command. */
  #startsCommand(): boolean {
    if (this.#token.kind !== 'word') return false;
    const name = this.#token.name;
    return (
      name === undefined ||
      !reservedWords.has(name) ||
      name === 'if' ||
      name === 'for' ||
      name === 'while' ||
      name === 'until'
    );
  }

  /** One or more commands; stops, behind the last delimiter, at whatever cannot begin a command. */
  #commands(delimited: boolean): Node[] {
    this.#newlines();
    const nodes = [this.#command()];
    while (this.#tryDelimiter()) {
      if (!this.#startsCommand()) return nodes;
      nodes.push(this.#command());
    }
    if (delimited) this.#fail("';' or a new line");
    return nodes;
  }

  #command(): Node {
    if (!this.#startsCommand()) this.#fail('a command');
    if (this.#isWord('if')) return this.#nested(() => this.#if());
    if (this.#isWord('for')) return this.#nested(() => this.#for());
    if (this.#isWord('while') || this.#isWord('until')) return this.#nested(() => this.#while());
    return this.#simple();
  }

  #words(): Word[] {
    const words: Word[] = [];
    while (this.#token.kind === 'word') {
      words.push(this.#token.parts);
      this.#budget.charge();
      if (++this.#size > grubLimits.statementWords)
        throw this.#budget.exceeded(`has a statement of more than ${grubLimits.statementWords} words`);
      this.#advance();
    }
    return words;
  }

  #simple(): CommandNode {
    const line = this.#token.line;
    const words = this.#words();
    const block = this.#token.kind === '{' ? this.#nested(() => this.#block(false)) : undefined;
    return { kind: 'command', words, block, line };
  }

  #block(delimited: boolean): Node[] {
    this.#expect('{');
    const nodes = this.#commands(delimited);
    this.#expect('}');
    return nodes;
  }

  #if(): IfNode {
    const branches: { condition: Node[]; body: Node[] }[] = [];
    do {
      this.#advance(); // `if` or `elif`
      const condition = this.#commands(true);
      this.#expectWord('then');
      branches.push({ condition, body: this.#commands(true) });
    } while (this.#isWord('elif'));
    let otherwise: Node[] = [];
    if (this.#isWord('else')) {
      this.#advance();
      otherwise = this.#commands(true);
    }
    this.#expectWord('fi');
    return { kind: 'if', branches, otherwise };
  }

  #name(): string {
    const name = this.#token.kind === 'word' ? this.#token.name : undefined;
    if (name === undefined || reservedWords.has(name)) this.#fail('a name');
    this.#advance();
    return name;
  }

  #doBody(): Node[] {
    this.#expectWord('do');
    const body = this.#commands(true);
    this.#expectWord('done');
    return body;
  }

  #for(): ForNode {
    this.#advance();
    const name = this.#name();
    this.#expectWord('in');
    const words = this.#words();
    this.#delimiter();
    return { kind: 'for', name, words, body: this.#doBody() };
  }

  #while(): Node {
    const until = this.#isWord('until');
    this.#advance();
    const condition = this.#commands(true);
    return { kind: 'while', until, condition, body: this.#doBody() };
  }

  #function(): Statement {
    this.#advance();
    const name = this.#name();
    this.#newlines();
    return { kind: 'function', name, body: this.#nested(() => this.#block(true)) };
  }
}
