// Sends what a tab holds to the API, its placeholders filled in.

import { Missing, fill, remember } from './journey.js';
import { newestId } from './mailbox.js';

// `show` gets what was filled in as [name, value] pairs, or a problem.
export function createFetcher(show) {
  return async ({ query, variables, operationName }, { headers } = {}) => {
    if (operationName === 'IntrospectionQuery') return post({ query, operationName }, {});
    const used = [];
    try {
      const filled = { variables: await fill(variables, used), headers: await fill(headers, used) };
      show({ used });
      const before = await newestId();
      const answer = await post({ query, operationName, variables: filled.variables }, filled.headers);
      remember(filled, answer.data, before);
      return answer;
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      show({ used, problem: error.message });
      return { errors: [{ message: `Not sent. ${error.message}` }] };
    }
  };
}

async function post(body, headers) {
  let response;
  try {
    response = await fetch('/graphql', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/graphql-response+json, application/json', ...headers },
      body: JSON.stringify(body),
    });
  } catch {
    return { errors: [{ message: 'The server did not answer. Does it still run?' }] };
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [{ message: `The server answered ${response.status} with something that is not JSON: ${text.slice(0, 500)}` }] };
  }
}
