// Rewrites modules so that they say which of their branches were taken, and what they have compared: what the
// fuzzer is guided by. test/fuzz/engine/probe.ts is what they say it to.
import ts from 'typescript';

/** Longer texts are messages for people: no input needs them. */
const MAX_WORD_LENGTH = 32;

/** The names that instrumented code uses; the bundle's first line declares them. */
export const COUNTERS = '$counters';
export const EQUAL = '$equal';

const { factory, SyntaxKind } = ts;
const LOGICAL = [
  SyntaxKind.AmpersandAmpersandToken,
  SyntaxKind.BarBarToken,
  SyntaxKind.QuestionQuestionToken,
];

export class Instrumenter {
  /** Branches so far, in all modules. */
  sites = 0;
  /** Texts and names in the code: what inputs may be made of. */
  words = new Set();

  /** @returns the module as JavaScript */
  instrument(source, fileName) {
    const { outputText } = ts.transpileModule(source, {
      fileName,
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
      transformers: { before: [(context) => (file) => this.#visitFile(file, context)] },
    });
    return outputText;
  }

  #visitFile(file, context) {
    const visit = (node) => {
      if (ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node;
      this.#learn(node);
      return this.#rewrite(ts.visitEachChild(node, visit, context));
    };
    return ts.visitNode(file, visit);
  }

  #learn(node) {
    const name = ts.isBindingElement(node) ? node.propertyName : ts.isPropertyAssignment(node) && node.name;
    for (const text of [node, name])
      if (text && (ts.isStringLiteralLike(text) || text === name) && text.text?.length <= MAX_WORD_LENGTH)
        this.words.add(text.text);
  }

  #rewrite(node) {
    if (ts.isIfStatement(node))
      return factory.updateIfStatement(
        node,
        node.expression,
        this.#counted(node.thenStatement),
        this.#counted(node.elseStatement ?? factory.createBlock([])),
      );
    if (ts.isConditionalExpression(node))
      return factory.updateConditionalExpression(
        node,
        node.condition,
        node.questionToken,
        this.#countedValue(node.whenTrue),
        node.colonToken,
        this.#countedValue(node.whenFalse),
      );
    if (ts.isBinaryExpression(node)) return this.#rewriteBinary(node);
    if (ts.isForStatement(node))
      return factory.updateForStatement(
        node,
        node.initializer,
        node.condition,
        node.incrementor,
        this.#counted(node.statement),
      );
    if (ts.isForOfStatement(node))
      return factory.updateForOfStatement(
        node,
        node.awaitModifier,
        node.initializer,
        node.expression,
        this.#counted(node.statement),
      );
    if (ts.isWhileStatement(node))
      return factory.updateWhileStatement(node, node.expression, this.#counted(node.statement));
    if (ts.isCaseClause(node))
      return factory.updateCaseClause(node, node.expression, [this.#count(), ...node.statements]);
    if (ts.isArrowFunction(node) && !ts.isBlock(node.body))
      return factory.updateArrowFunction(
        node,
        node.modifiers,
        node.typeParameters,
        node.parameters,
        node.type,
        node.equalsGreaterThanToken,
        factory.createParenthesizedExpression(this.#countedValue(node.body)),
      );
    return node;
  }

  #rewriteBinary(node) {
    const { left, operatorToken, right } = node;
    const { kind } = operatorToken;
    if (LOGICAL.includes(kind))
      return factory.updateBinaryExpression(node, left, operatorToken, this.#countedValue(right));
    if (kind !== SyntaxKind.EqualsEqualsEqualsToken && kind !== SyntaxKind.ExclamationEqualsEqualsToken)
      return node;
    const call = factory.createCallExpression(factory.createIdentifier(EQUAL), undefined, [left, right]);
    return kind === SyntaxKind.EqualsEqualsEqualsToken ? call : factory.createLogicalNot(call);
  }

  #increment() {
    return factory.createPostfixIncrement(
      factory.createElementAccessExpression(factory.createIdentifier(COUNTERS), this.sites++),
    );
  }

  #count() {
    return factory.createExpressionStatement(this.#increment());
  }

  #counted(statement) {
    return factory.createBlock([this.#count(), statement]);
  }

  #countedValue(value) {
    return factory.createParenthesizedExpression(factory.createComma(this.#increment(), value));
  }
}
